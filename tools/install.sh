#!/usr/bin/env bash
# Installs what `make` built, or with --remove takes it away again. Called by `make install`, which sets PREFIX, DESTDIR,
# VERSION, BUILD and BIN.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}$prefix

if [ "${1:-}" = --remove ]; then
    rm -f "$root"/bin/sieve-* "$root/lib/libsieve.a" "$root/lib/pkgconfig/sieve.pc"
    rm -rf "$root/include/sieve" "$root/include/sieve.h" "$root/share/sieve"
    exit 0
fi

install -d "$root/bin" "$root/lib/pkgconfig" "$root/include/sieve" "$root/share/sieve/configs"
for program in "$BIN"/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    install -m 755 "$program" "$root/bin/sieve-$(basename "$program")"
done
install -m 644 "$BUILD/libsieve.a" "$root/lib/"
[ -f include/sieve.h ] && install -m 644 include/sieve.h "$root/include/"
for folder in base kernels autograd formats layers pruning latency data comm report eval train; do
    for header in "$folder"/*.h; do
        [ -f "$header" ] || continue
        install -d "$root/include/sieve/$folder"
        install -m 644 "$header" "$root/include/sieve/$folder/"
    done
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
Libs: -L\${libdir} -lsieve -fopenmp -ljansson -ljpeg -lpng -lz -lm
EOF
echo "installed in $root"
