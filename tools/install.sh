#!/usr/bin/env bash
# Installs what `make` built, or with --remove takes it away again. Called by `make install`, which sets PREFIX, DESTDIR,
# VERSION, INFER_VERSION, BUILD and BIN. --infer installs the inference library alone.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}$prefix

if [ "${1:-}" = --remove ]; then
    rm -f "$root"/bin/sieve-* "$root/lib/libsieve.a" "$root/lib/pkgconfig/sieve.pc"
    rm -f "$root"/lib/libsieve-infer.* "$root/lib/pkgconfig/sieve-infer.pc" "$root/include/sieve_infer.h"
    rm -rf "$root/include/sieve" "$root/include/sieve.h" "$root/share/sieve"
    exit 0
fi

install_infer() {
    local so=libsieve-infer.so
    install -d "$root/lib/pkgconfig" "$root/include"
    install -m 644 infer/sieve_infer.h "$root/include/"
    install -m 644 "$BUILD/libsieve-infer.a" "$root/lib/"
    install -m 755 "$BUILD/$so" "$root/lib/$so.$VERSION"
    ln -sf "$so.$VERSION" "$root/lib/$so.$INFER_VERSION"
    ln -sf "$so.$INFER_VERSION" "$root/lib/$so"
    cat > "$root/lib/pkgconfig/sieve-infer.pc" <<EOF
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: sieve-infer
Description: Answers of vision transformers trained by Sieve, with tokens that leave
Version: $VERSION
Cflags: -I\${includedir}
Libs: -L\${libdir} -lsieve-infer
Libs.private: -fopenmp -ljpeg -lz -lm
EOF
}

install_infer
if [ "${1:-}" = --infer ]; then
    echo "installed in $root"
    exit 0
fi
install -d "$root/bin" "$root/lib/pkgconfig" "$root/include/sieve" "$root/share/sieve/configs"
for program in "$BIN"/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    [ "${program##*/}" != opdocs ] || continue # serves the tree alone
    install -m 755 "$program" "$root/bin/sieve-$(basename "$program")"
done
install -m 644 "$BUILD/libsieve.a" "$root/lib/"
# Headers: sieve.h and what it leads to; the inner ones of a folder stay at home.
[ -f include/sieve.h ] && install -m 644 include/sieve.h "$root/include/"
headers=(*/*.h)
[ -f include/sieve.h ] && read -r -a headers < <("${CC:-cc}" -I. -MM include/sieve.h | tr -d '\\\n' | cut -d: -f2; echo)
for header in "${headers[@]}"; do
    [ "$header" = include/sieve.h ] || install -D -m 644 "$header" "$root/include/sieve/$header"
done
if [ -d configs ]; then
    find configs -name '*.ini' -print0 | while IFS= read -r -d '' config; do
        install -D -m 644 "$config" "$root/share/sieve/$config"
    done
fi
cat > "$root/lib/pkgconfig/sieve.pc" <<EOF
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: sieve
Description: Training of vision transformers under a latency budget
Version: ${VERSION:-0}
Cflags: -I\${includedir} -I\${includedir}/sieve
Libs: -L\${libdir} -lsieve -fopenmp -ljpeg -lpng -lz -lm
EOF
echo "installed in $root"
