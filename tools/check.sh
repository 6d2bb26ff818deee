#!/usr/bin/env bash
# Everything that must hold, for `make check`. With --ci also the slow part: all tests under the sanitizers, threads under
# ThreadSanitizer, a build with clang; tests see SIEVE_CHECK_SLOW=1 and may do more. One line a test program; output of what
# failed is shown whole. The last line is "N passed, N failed[, N skipped]"; exit 1 if any failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
slow=""
for argument in "$@"; do
    case $argument in
    --ci) slow=yes ;;
    *) echo "check: '$argument' is not known; expected --ci or nothing" >&2; exit 2 ;;
    esac
done
[ -n "$slow" ] && export SIEVE_CHECK_SLOW=1
unset SIEVE_ISA SIEVE_FAULT MAKEFLAGS MFLAGS VARIANT # the checks say themselves what they want
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
counts=$work/counts
: > "$counts"
shopt -s nullglob
started=$SECONDS

finish() {
    read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$counts")
    echo "took $((SECONDS - started)) s"
    echo "$passed passed, $failed failed$([ "$skipped" -gt 0 ] && echo ", $skipped skipped")"
    [ "$failed" -eq 0 ]
    exit
}
heading() { printf '\n== %s\n' "$1"; }
# One check that is a command: its output is shown only where it fails.
hold() { # hold NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    if "$@" > "$work/out" 2>&1; then
        printf '%-62s %4d ok  %d s\n' "$name" 1 $((SECONDS - start))
        echo "1 0 0" >> "$counts"
    else
        printf '%-62s    0 ok, 1 FAILED  %d s\n' "$name" $((SECONDS - start))
        grep -vE "^  (cc|ld) |^make.*Target '" "$work/out" | sed 's/^/    | /'
        echo "0 1 0" >> "$counts"
    fi
}
run() { tools/run-tests.sh --counts "$counts" "$@"; } # run [--label WORD] PROGRAM...
build() { make --no-print-directory -k -j"$(nproc)" "$@"; }
built() { # built VARIANT SOURCE...: the programs that these tests become
    local variant=$1
    shift
    programs=("${@%.c}")
    programs=("${programs[@]/#/build/$variant/}")
}

if ! tools/install-deps.sh --check-only ${slow:+--all}; then
    if [ "$(id -u)" -eq 0 ] || [ -n "${CI:-}" ]; then tools/install-deps.sh ${slow:+--all}; fi
    if ! tools/install-deps.sh --check-only > /dev/null; then
        echo "0 1 0" >> "$counts"
        finish
    fi
fi

heading "the tree"
hold "layers: no folder uses a later one" tools/check-layers.sh
hold "headers: each compiles alone" tools/check-headers.sh
hold "words: nothing is left unfinished" tools/check-words.sh

heading "build"
hold "build/release: programs, libraries, tests" build VARIANT=release all infer tests
hold "docs: printed pages are up to date" tools/check-docs.sh

heading "tests"
units=(tests/unit/*/*.c)
all=("${units[@]}" tests/golden/*.c tests/property/*.c tests/fault/*.c)
built release "${all[@]}"
[ ${#programs[@]} -gt 0 ] && run "${programs[@]}"
scripts=()
for script in tests/cli/*.sh; do [ -x "$script" ] && scripts+=("$script"); done
[ ${#scripts[@]} -gt 0 ] && run "${scripts[@]}"

heading "double precision"
f64=(tests/unit/autograd/*.c tests/unit/latency/gradient.c tests/golden/*.c)
if [ ${#f64[@]} -gt 0 ]; then
    hold "build/f64: library, tests" build VARIANT=f64 library f64-tests
    built f64 "${f64[@]}"
    run "${programs[@]}"
fi

heading "sanitizers and stored fuzz inputs"
fuzzers=(tests/fuzz/fuzz_*.c)
hold "build/asan: library, unit tests, fuzz replays" build VARIANT=asan library unit-tests fuzzers
built asan "${units[@]}" "${fuzzers[@]}"
[ ${#programs[@]} -gt 0 ] && SIEVE_CASES=50 run "${programs[@]}" # kernels in C are slow here

if [ -n "$slow" ]; then
    heading "slow part"
    more=(tests/golden/*.c tests/property/*.c tests/fault/*.c)
    if [ ${#more[@]} -gt 0 ]; then
        hold "build/asan: all other tests" build VARIANT=asan tests
        built asan "${more[@]}"
        run "${programs[@]}"
    fi
    threaded=(tests/unit/base/*.c tests/unit/data/*.c tests/unit/comm/*.c tests/unit/infer/*.c tests/unit/autograd/peers.c)
    hold "build/tsan: tests of threads" build VARIANT=tsan library tsan-tests
    built tsan "${threaded[@]}"
    [ ${#programs[@]} -gt 0 ] && run "${programs[@]}"
    heading "aarch64, emulated"
    if tools/install-deps.sh --check-only --arm > "$work/out"; then
        arm=(tests/unit/kernels/*.c tests/unit/base/{cpu,threads,random,memory,text,checked,atomic_file}.c tests/unit/autograd/op_goldens.c tests/unit/data/resize.c)
        built arm "${arm[@]}"
        hold "build/arm: library and tests for aarch64" build VARIANT=release CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar BUILD=build/arm BIN=build/arm/bin "${programs[@]}"
        SIEVE_CASES=40 SIEVE_UNFENCED=1 SIEVE_EMULATOR=qemu-aarch64 run "${programs[@]}"
    else
        echo "skipped: $(head -1 "$work/out")"
        echo "0 0 1" >> "$counts"
    fi
    hold "build/clang: everything compiles with clang" build VARIANT=release CC=clang BUILD=build/clang BIN=build/clang/bin all tests
fi
finish
