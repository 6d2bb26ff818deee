#!/usr/bin/env bash
# Every backbone family with every pruning method that fits it, at quickstart size on the built-in pictures: a dense model a family from scratch, then one
# run a method from it, at fixed ratios; each evaluated and timed beside its dense model, one picture and 32 at a time. What is done is not done again.
#
#     tools/compare-families.sh [--out runs/families] [--epochs 24] [--prune-epochs 8] [--train 4000] [--val 1000] [--bin bin] [--time-only]
#
# Writes OUT/families.csv and prints the table. --time-only measures what is there again, for a machine that was busy.
set -u
cd "$(dirname "$0")/.." || exit 1
out=runs/families epochs=24 prune_epochs=8 train=4000 val=1000 bin=bin again=no
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    --out|--epochs|--train|--val|--bin) [ $# -gt 1 ] || usage; printf -v "${1#--}" '%s' "$2"; shift 2 ;;
    --prune-epochs) [ $# -gt 1 ] || usage; prune_epochs=$2; shift 2 ;;
    --time-only) again=yes; shift ;;
    *) echo "compare-families: '$1' is not known" >&2; usage ;;
    esac
done
mkdir -p "$out" || exit 1
export QUICKSTART=$out
[ -f "$out/pictures/classes.txt" ] || "$bin/shapes" "$out/pictures" --train "$train" --val "$val" --size 64 --seed 1 --quiet || exit 1

# family, method, blocks with a selector in front, shares kept behind each (of the patches of its own grid)
rows="vit_nano spvit 1,3 0.6,0.4
vit_nano dynamicvit 1,3 0.6,0.4
vit_nano random 1,3 0.6,0.4
vit_nano attention 1,3 0.6,0.4
vit_nano evit 1,3 0.6,0.4
vit_nano tome 0 0.4
lvvit_nano spvit 1,2 0.7,0.5
lvvit_nano dynamicvit 1,2 0.7,0.5
pit_nano spvit 1,3 0.6,0.5
swin_nano spvit 1,3 0.6,0.5
swin_nano dynamicvit 3,4 0.6,0.4
convnext_nano dynamicvit 2,3 0.6,0.4"

# The number of a key in the object `part` of eval's JSON.
value() { sed -n "s/.*\"$1\": {\([^}]*\)}.*/\1/p" "$3" | sed -n "s/.*\"$2\": \([^,]*\).*/\1/p"; }
figures() { # CONFIG-WORDS MODEL JSON
    [ -f "$3" ] && [ $again = no ] && return 0
    # shellcheck disable=SC2086
    "$bin/eval" $1 --checkpoint "$2" --latency --quiet --json --train.batch=32 < /dev/null > "$3.part" && mv "$3.part" "$3"
}

failed=0
csv=$out/families.csv
echo "model,method,keep,top1,dense_top1,ms,dense_ms,faster_alone,images_per_s,dense_images_per_s,faster_at_32" > "$csv.part"
while read -r family method at keep; do
    base="--config configs/quickstart_dense.ini --model.arch=$family"
    dense=$out/$family-dense run=$out/$family-$method
    if [ ! -f "$dense/model.safetensors" ]; then
        echo "== $family" >&2
        # shellcheck disable=SC2086
        "$bin/train" $base --quiet --run.dir="$dense" --train.epochs="$epochs" < /dev/null || { failed=1; continue; }
    fi
    pruned="$base --model.weights=$dense/model.safetensors --pruning.method=$method --pruning.keep=$keep"
    [ "$method" = tome ] || pruned="$pruned --pruning.at=$at"
    if [ ! -f "$run/model.safetensors" ]; then
        echo "== $family with $method" >&2
        # shellcheck disable=SC2086
        "$bin/train" $pruned --quiet --run.dir="$run" --train.epochs="$prune_epochs" --train.lr=2e-3 --train.min_lr=1e-4 --train.backbone_scale=0.1 --train.warmup_epochs=0 \
            < /dev/null || { failed=1; continue; }
    fi
    figures "$pruned" "$run/model.safetensors" "$run/figures.json" || { failed=1; continue; }
    json=$run/figures.json
    awk -v row="$family,$method,${keep//,//}" -v a="$(value pruned top1 "$json")" -v b="$(value dense top1 "$json")" -v ms="$(value pruned ms_batch1_median "$json")" \
        -v dms="$(value dense ms_batch1_median "$json")" -v rate="$(value pruned images_per_s "$json")" -v drate="$(value dense images_per_s "$json")" \
        'BEGIN { printf "%s,%.1f,%.1f,%.3f,%.3f,%.2f,%.0f,%.0f,%.2f\n", row, 100 * a, 100 * b, ms, dms, dms / ms, rate, drate, rate / drate }' >> "$csv.part"
done <<< "$rows"
mv "$csv.part" "$csv"
column -s, -t "$csv"
exit $failed
