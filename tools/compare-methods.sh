#!/usr/bin/env bash
# Pruning methods beside each other: the same dense model, pictures, recipe and latency budgets, one run a method and budget, each then evaluated and timed
# beside the dense model. A run that is done is not run again; a stopped one goes on where it was.
#
#     tools/compare-methods.sh --config configs/quickstart.ini --budgets "80% 60%" --methods "random attention evit tome dynamicvit spvit" --out runs/compare \
#         [-- --train.epochs=4 ...]
#
# Writes OUT/METHOD-BUDGET/ (the run), OUT/compare.csv and OUT/compare.txt, the table that it prints. What stands behind -- goes to every run, with %METHOD%
# replaced: --latency.table=phone-%METHOD%.csv. --bin: where the programs are (bin). Exit 0 where every run gave a model; budgets that were missed are told
# in the table.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
config="" budgets="" methods="random attention evit tome dynamicvit spvit" out="" bin="$here/bin"
usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    --config|--budgets|--methods|--out|--bin) [ $# -gt 1 ] || usage; printf -v "${1#--}" '%s' "$2"; shift 2 ;;
    --) shift; break ;;
    *) echo "compare-methods: '$1' is not known" >&2; usage ;;
    esac
done
[ -n "$config" ] && [ -n "$budgets" ] && [ -n "$out" ] || usage
mkdir -p "$out" || exit 1
csv="$out/compare.csv"

# The number (or list, [a, b]) of a key in the object `part` of eval's JSON.
value() { # PART KEY FILE
    sed -n "s/.*\"$1\": {\([^}]*\)}.*/\1/p" "$3" | sed -n "s/.*\"$2\": \(\[[^]]*\]\|[^,]*\).*/\1/p" | tr -d '[]' | tr ',' '/' | tr -d ' '
}

one() { # METHOD BUDGET, then overrides
    local method=$1 budget=$2 code=0
    local run="$out/$method-${budget%\%}"
    shift 2
    set -- "${@//%METHOD%/$method}"
    mkdir -p "$run"
    if [ ! -f "$run/figures.json" ]; then
        echo "== $method at $budget" >&2
        "$bin/train" --config "$config" --quiet --run.dir="$run" --pruning.method="$method" --latency.budget="$budget" "$@" < /dev/null || code=$?
        [ $code = 0 ] || [ $code = 6 ] || { echo "compare-methods: $method at $budget ended with exit code $code; its log is $run/log.txt" >&2; return 1; }
        "$bin/eval" --config "$config" --checkpoint "$run/model.safetensors" --latency --quiet --json --latency.budget= "$@" < /dev/null > "$run/figures.part" || return 1
        mv "$run/figures.part" "$run/figures.json"
    fi
    awk -v method="$method" -v budget="$budget" -v top1="$(value pruned top1 "$run/figures.json")" -v dense="$(value dense top1 "$run/figures.json")" \
        -v ms="$(value pruned ms_batch1_median "$run/figures.json")" -v dense_ms="$(value dense ms_batch1_median "$run/figures.json")" \
        -v macs="$(value pruned macs "$run/figures.json")" -v kept="$(value pruned tokens_kept "$run/figures.json")" \
        'BEGIN { n = split(kept, left, "/"); kept = ""; for (i = 1; i <= n; i++) kept = kept (i > 1 ? "/" : "") sprintf("%.0f", left[i])
            printf "%s,%s,%.2f,%.2f,%.4f,%.4f,%.3f,%.4f,%s\n", method, budget, 100 * top1, 100 * dense, ms, dense_ms, ms / dense_ms, macs / 1e9, kept }' >> "$csv.part"
}

rm -f "$csv.part"
echo "method,budget,top1,dense_top1,ms,dense_ms,share,gmac,patches_kept" > "$csv.part"
failed=0
for budget in $budgets; do
    for method in $methods; do one "$method" "$budget" "$@" || failed=1; done
done
mv "$csv.part" "$csv"
awk -F, '{ for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } } END { for (r = 1; r <= NR; r++) { line = ""
    for (i = 1; i <= NF; i++) line = line sprintf(i < 3 || i == NF ? "%-" width[i] "s  " : "%" width[i] "s  ", cell[r, i]); sub(/ +$/, "", line); print line } }' "$csv" > "$out/compare.txt"
cat "$out/compare.txt"
exit $failed
