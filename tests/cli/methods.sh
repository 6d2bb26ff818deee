#!/usr/bin/env bash
# Every pruning method and LV-ViT through the programs: learn, go on to the byte, answer with times, leave, be read back.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"

bin/shapes "$room/pictures" --train 120 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes_write_pictures: exit $?"
picture=$(find "$room/pictures/val" -type f | sort | head -n 1)
small="--quiet --train.epochs=1 --train.batch=20 --train.warmup_epochs=0 --latency.runs=3 --latency.warm_up=1"
short="$small --latency.budget= --train.calibrate=40 --run.threads=2"

# LV-ViT with selectors of SPViT and DynamicViT
try lvvit_dense 0 "top1" bin/train --config configs/quickstart_lvvit_dense.ini $small --json
for method in spvit dynamicvit; do
    config="--config configs/quickstart_lvvit_$method.ini"
    run="$config $short"
    try lvvit_$method 0 "measured_ms" bin/train $run --json
    bin/train $run --run.dir="$room/lvvit_again" --run.threads=1 --train.max_steps=3 > /dev/null 2>&1
    try lvvit_${method}_goes_on 0 "measured_ms" bin/train $run --run.dir="$room/lvvit_again" --run.threads=1 --json
    same lvvit_${method}_goes_on_to_the_same_bytes "$room/lvvit_$method/model.safetensors" "$room/lvvit_again/model.safetensors"
    rm -rf "$room/lvvit_again"
    try lvvit_${method}_verify_resume 0 "" bin/train $run --run.dir="$room/lvvit_verify_$method" --verify-resume 2
    try lvvit_${method}_is_timed 0 "times as fast" bin/eval $config --checkpoint "$room/lvvit_$method/model.safetensors" --latency --latency.runs=3 --quiet
    try lvvit_${method}_export_and_read_back 0 "logits equal" bin/export "$room/lvvit_$method/model.safetensors" --format safetensors --out "$room/lvvit_$method.safetensors"
    try lvvit_${method}_classifies 0 "tokens_kept" bin/classify "$room/lvvit_$method.safetensors" "$picture" --json
    try lvvit_${method}_as_onnx 0 "read back" bin/export "$room/lvvit_$method/model.safetensors" --format onnx --out "$room/lvvit.onnx"
    awk -v method=$method 'BEGIN { print "# device: Test board\n# arch: lvvit_nano\n# image: 64\n# patch: 16\n# depth: 4\n# width: 96\n# heads: 3\n# selector: " method "\nop,batch,tokens,ms_median,ms_p95"
        for (n = 1; n < 20; n++) print "block,1," n "," 1 + n ",99\nselector,1," n "," 0.1 + n / 100 ",99"; print "embed,1,17,0.3,99\nhead,1,17,0.1,99" }' > "$room/board.csv"
    try lvvit_${method}_is_solved_for 0 "keep_ratios" bin/latency solve $config --latency.table="$room/board.csv" --latency.budget=85% --quiet --json
done

# Methods that learn nothing, by a fixed ratio and, as a budget is solved for by each, by a table of a board
try vit_dense 0 "top1" bin/train --config configs/quickstart_dense.ini $small --json
for method in random attention evit tome; do
    keep=0.6,0.4
    [ $method = tome ] && keep=0.4
    config="--config configs/quickstart.ini --pruning.method=$method --run.dir=$room/$method"
    run="$config $short --pruning.keep=$keep"
    try ${method} 0 "measured_ms" bin/train $run --json
    bin/train $run --run.dir="$room/again" --run.threads=1 --train.max_steps=3 > /dev/null 2>&1
    try ${method}_goes_on 0 "measured_ms" bin/train $run --run.dir="$room/again" --run.threads=1 --json
    same ${method}_goes_on_to_the_same_bytes "$room/$method/model.safetensors" "$room/again/model.safetensors"
    rm -rf "$room/again"
    try ${method}_is_timed 0 "times as fast" bin/eval $config --checkpoint "$room/$method/model.safetensors" --latency --latency.runs=3 --quiet
    try ${method}_export_and_read_back 0 "logits equal" bin/export "$room/$method/model.safetensors" --format safetensors --out "$room/$method.safetensors"
    try ${method}_plan_names_the_method 0 "method $method" bin/eval --inspect "$room/$method.safetensors"
    try ${method}_classifies 0 "tokens_kept" bin/classify "$room/$method.safetensors" "$picture" --json
    try ${method}_as_onnx 0 "read back" bin/export "$room/$method/model.safetensors" --format onnx --out "$room/$method.onnx"
    try ${method}_as_onnx_by_thresholds 2 "use --mode static" bin/export "$room/$method/model.safetensors" --format onnx --mode dynamic --out "$room/$method.onnx"
    awk -v method=$method 'BEGIN { print "# device: Test board\n# arch: vit_nano\n# image: 64\n# patch: 8\n# depth: 6\n# width: 96\n# heads: 3\n# selector: " method "\nop,batch,tokens,ms_median,ms_p95"
        for (n = 1; n < 70; n++) print "block,1," n "," 1 + n ",99\nselector,1," n "," 0.4 + n / 2 ",99\nmlp,1," n "," 0.5 + n / 2 ",99"; print "embed,1,65,0.3,99\nhead,1,65,0.1,99" }' > "$room/board.csv"
    cp "$room/board.csv" "$room/board_$method.csv"
    try ${method}_is_solved_for 0 "keep_ratios" bin/latency solve $config --latency.table="$room/board.csv" --latency.budget=80% --quiet --json
    try ${method}_is_trained_by_a_table 0 "predicted_ms" bin/train $config $small --run.dir="$room/${method}_board" --latency.table="$room/board.csv" --latency.budget=80% --json
done
try tome_merges_so_many_a_block 0 '"keep_ratios": [0.25]' bin/train --config configs/quickstart.ini $short --pruning.method=tome --pruning.merge=8 --run.dir="$room/merge" --json
try tome_has_one_ratio 2 "tome has one" bin/train --config configs/quickstart.ini $short --pruning.method=tome --pruning.keep=0.5,0.4 --run.dir="$room/none"
try tools_compare 0 "random  70%" tools/compare-methods.sh --config configs/quickstart.ini --budgets "70%" --methods "random" --out "$room/compare" -- $small --latency.table="$room/board_random.csv"
