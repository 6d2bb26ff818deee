#!/usr/bin/env bash
# Runs test programs, as many at a time as there are cores (2 to 4), each for at most 600 s, and prints a line for each:
# name, counts, seconds. What failed is shown whole. The last line is "N passed, N failed[, N skipped]"; exit 1 if any failed.
#     tools/run-tests.sh [--label WORD] [--counts FILE] PROGRAM...
# A program is a cmocka test, a script (*.sh) that prints "ok NAME", "not ok NAME: why", "skip NAME: why", or a fuzz replay,
# which speaks like a script. SIEVE_EMULATOR: a command that runs programs of another machine. A program that is absent (not built), crashes, times out or runs nothing counts as failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
label=""
counts_file=""
while [ $# -gt 0 ]; do
    case $1 in
    --label) label=" [$2]"; shift 2 ;;
    --counts) counts_file=$2; shift 2 ;;
    *) break ;;
    esac
done
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=0:second_deadlock_stack=1}

# Sum of the numbers that follow a mark at the end of a cmocka run: sum_of FILE 'PASSED' -> "[  PASSED  ] 5 test(s)."
sum_of() { grep -aoE "\[  $2 *\] ([^ ]+: )?[0-9]+ test\(s\)" "$1" | grep -aoE '[0-9]+ test' | awk '{ n += $1 } END { print n + 0 }'; }
lines_of() { grep -acE "^$2 " "$1"; }

run_one() { # run_one INDEX PROGRAM
    local out=$results/$1.out program=$2 start end rc passed failed skipped note=""
    start=$(date +%s%N)
    if [ ! -x "$program" ]; then
        echo "$program was not built" > "$out"
        rc=127
    else
        local arguments=()
        case $program in */fuzz_*) arguments=("tests/fuzz/corpus/$(basename "$program")") ;; esac
        [[ $program == */* ]] || program=./$program
        timeout -k 10 600 ${SIEVE_EMULATOR:-} "$program" "${arguments[@]}" > "$out" 2>&1 < /dev/null
        rc=$?
    fi
    end=$(date +%s%N)
    passed=$(($(sum_of "$out" PASSED) + $(lines_of "$out" ok)))
    failed=$(($(sum_of "$out" FAILED) + $(lines_of "$out" 'not ok')))
    skipped=$(($(sum_of "$out" SKIPPED) + $(lines_of "$out" skip)))
    case $rc in
    0) ;;
    124 | 137) note=" (killed after 600 s)" ;;
    127) note=" (not there)" ;;
    *) [ $rc -gt 128 ] && note=" (killed by signal $((rc - 128)))" ;;
    esac
    if [ $rc -ne 0 ] && [ $failed -eq 0 ]; then failed=1; fi
    if [ $rc -eq 0 ] && [ $((passed + failed + skipped)) -eq 0 ]; then failed=1 note=" (ran no test)"; fi
    [ $failed -ne 0 ] && [ -z "$note" ] && [ $rc -ne 0 ] && note=" (exit $rc)"
    {
        printf '%-62s %4d ok' "${program#build/}$label" "$passed"
        [ "$failed" -gt 0 ] && printf ', %d FAILED%s' "$failed" "$note"
        [ "$skipped" -gt 0 ] && printf ', %d skipped' "$skipped"
        printf '  %d.%d s\n' $(((end - start) / 1000000000)) $(((end - start) / 100000000 % 10))
        [ "$failed" -gt 0 ] && sed 's/^/    | /' "$out"
    } > "$results/$1.line"
    cat "$results/$1.line"
    echo "$passed $failed $skipped" > "$results/$1.counts"
}

jobs=$(nproc)
[ "$jobs" -gt 4 ] && jobs=4
[ "$jobs" -lt 2 ] && jobs=2
index=0
for program in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    run_one $index "$program" &
    index=$((index + 1))
done
wait
read -r passed failed skipped < <(cat "$results"/*.counts 2> /dev/null | awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
if [ -n "$counts_file" ]; then echo "$passed $failed $skipped" >> "$counts_file"
else echo "$passed passed, $failed failed$([ "$skipped" -gt 0 ] && echo ", $skipped skipped")"; fi
[ "$failed" -eq 0 ]
