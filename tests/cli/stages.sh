#!/usr/bin/env bash
# SPViT on backbones of several stages, as a user walks it: trained on built-in pictures, evaluated, drawn, classified, and what is not possible says so.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d "/tmp/sieve stages XXXXXX") || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"

bin/shapes "$room/pictures" --train 120 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes_write_pictures: exit $?"
picture=$(find "$room/pictures/val" -type f | sort | head -1)
for kind in pit swin; do
    config=configs/quickstart_$kind.ini
    run=$room/${kind}_nano_pruned
    short="--train.epochs=1 --train.batch=40 --train.warmup_epochs=0 --train.calibrate=40 --latency.runs=5 --latency.seconds=1"
    try "${kind}_trains" 0 '"top1"' bin/train --config $config $short --quiet --json
    try "${kind}_resumes_to_the_byte" 0 "" bin/train --config $config $short --run.dir="$room/verify_$kind" --verify-resume 2
    try "${kind}_says_its_plan" 0 "of 16 patches" bin/train --config $config $short --run.dir="$room/dry_$kind" --dry-run
    try "${kind}_is_evaluated" 0 '"tokens_kept"' bin/eval --config $config --checkpoint "$run/model.safetensors" --quiet --json
    try "${kind}_is_measured" 0 "times as fast" bin/eval --config $config --checkpoint "$run/model.safetensors" --latency --latency.runs=5 --latency.seconds=1
    try "${kind}_is_drawn" 0 "sheet" bash -c "bin/eval --config $config --checkpoint '$run/model.safetensors' --overlays 2 --overlay-dir '$room/$kind' --quiet && ls '$room/$kind'"
    try "${kind}_classifies" 0 " patches" bin/classify "$run/model.safetensors" "$picture" --overlay "$room/$kind.png"
    try "${kind}_is_exported" 0 "logits equal" bin/export "$run/model.safetensors" --format safetensors --out "$room/$kind.safetensors"
    try "${kind}_as_onnx" 0 "read back" bin/export "$run/model.safetensors" --format onnx --out "$room/$kind.onnx"
    try "${kind}_as_onnx_by_thresholds" 2 "use --mode static" bin/export "$run/model.safetensors" --format onnx --mode dynamic --out "$room/$kind.onnx"
    try "${kind}_has_no_table" 2 "eval --latency" bin/latency measure --config $config --out "$room/$kind.csv"
    try "${kind}_meets_no_budget" 2 "set pruning.keep" bin/train --config $config $short --run.dir="$room/budget_$kind" --latency.budget=60%
    try "${kind}_does_not_take_dynamicvit" 2 "pruning." bin/train --config $config $short --run.dir="$room/other_$kind" --pruning.method=dynamicvit
    try "${kind}_is_exact_alone" 2 "mask_eps = 0" bin/train --config $config $short --run.dir="$room/eps_$kind" --pruning.mask_eps=1e-6
done
