#!/usr/bin/env bash
# Makes sure that what Sieve is built with is there: a C compiler, make, and the libraries. Without arguments it installs what
# is missing (apt; asks for root only where it is needed and not had). --check-only looks and says what is missing, exit 1.
# --all: also what the slow part of the checks wants. --mpi: Open MPI and MPICH, side by side, alone. --arm: a compiler, an emulator and libraries for aarch64, alone.
set -uo pipefail

# What is looked for (a command, a header or a tool by trial), and the Debian package that brings it.
missing=()
need() { # need PACKAGE TEST...
    local package=$1
    shift
    "$@" > /dev/null 2>&1 || missing+=("$package")
}
header() { echo "#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <setjmp.h>
#include <$1>" | "${CC:-cc}" -fsyntax-only -x c -; }
openmp_of_clang() { echo 'int main(void) { return 0; }' | clang -fopenmp -x c - -o /dev/null; }

arm="" mpi=""
for argument in "$@"; do
    [ "$argument" = --arm ] && arm=yes
    [ "$argument" = --mpi ] && mpi=yes
done
if [ -n "$mpi" ]; then
    need libopenmpi-dev command -v mpicc.openmpi
    need openmpi-bin command -v mpirun.openmpi
    need libmpich-dev command -v mpicc.mpich
    need mpich command -v mpirun.mpich
elif [ -n "$arm" ]; then
    there() { [ -e "/usr/lib/aarch64-linux-gnu/$1" ]; }
    need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
    need qemu-user command -v qemu-aarch64
    need libcmocka-dev:arm64 there libcmocka.so
    need libjansson-dev:arm64 there libjansson.so
    need libjpeg62-turbo-dev:arm64 there libjpeg.so
    need libpng-dev:arm64 there libpng.so
    need zlib1g-dev:arm64 there libz.so
    need libgomp1:arm64 there libgomp.so.1
else
    need gcc command -v gcc
    need libc6-dev header stdlib.h
    need make command -v make
    need libcmocka-dev header cmocka.h
    need libjansson-dev header jansson.h
    need libjpeg62-turbo-dev header jpeglib.h
    need libpng-dev header png.h
    need zlib1g-dev header zlib.h
    if [ "${1:-}" = --all ] || [ "${2:-}" = --all ]; then # for the slow part of the checks
        need clang command -v clang
        need libomp-dev openmp_of_clang
        need valgrind command -v valgrind
    fi
fi

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "${1:-}" = --check-only ]; then
    echo "missing: ${missing[*]}"
    echo "install with: tools/install-deps.sh ${arm:+--arm}${mpi:+--mpi}   (or: sudo apt-get install ${missing[*]})"
    exit 1
fi
if ! command -v apt-get > /dev/null; then
    echo "install-deps: this machine has no apt-get; please install what these Debian packages hold: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    echo "install-deps: root is needed to install ${missing[*]}"
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
[ -n "$arm" ] && { "${as_root[@]}" dpkg --add-architecture arm64 || exit 1; }
"${as_root[@]}" apt-get update -q || exit 1
for i in "${!missing[@]}"; do # Ubuntu names it otherwise
    if [ "${missing[i]}" = libjpeg62-turbo-dev ] && ! apt-cache show libjpeg62-turbo-dev > /dev/null 2>&1; then missing[i]=libjpeg-turbo8-dev; fi
done
exec "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
