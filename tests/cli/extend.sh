#!/usr/bin/env bash
# docs/how-to-extend.md, walked: its changes applied to a copy of the tree, which then has one more op, method and backbone, and everything that follows from them.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d "/tmp/sieve extend XXXXXX") || exit 1
trap 'rm -rf "$room"' EXIT
tree=$room/tree

mkdir "$tree" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$tree" && mkdir -p "$tree/build" && cp -a build/release "$tree/build/" || { echo "not ok a_copy_of_the_tree"; exit 1; }
awk -v room="$room" '/^```diff$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside { print > (room "/" n ".diff") }' docs/how-to-extend.md
cd "$tree" || exit 1
for change in 1 2 3; do try "change_${change}_applies" 0 "" git apply "$room/$change.diff"; done
try the_tree_with_them_builds 0 "" make -j"$(nproc)" --no-print-directory bin/train bin/eval bin/bench bin/shapes build/release/tests/unit/autograd/op_gradients build/release/tests/unit/autograd/op_runs
try the_op_is_checked 0 "square " build/release/tests/unit/autograd/op_gradients
try the_op_runs_by_rows_and_threads 0 "square" build/release/tests/unit/autograd/op_runs

export QUICKSTART="$room"
bin/shapes "$room/pictures" --train 80 --val 20 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
run="--config configs/quickstart.ini --quiet --model.weights= --pruning.method=energy --pruning.keep=0.6,0.4 --latency.budget= --train.epochs=1 --train.batch=20 --latency.runs=3 --latency.warm_up=1"
try the_method_trains 0 '"measured_ms"' bin/train $run --json
try the_method_resumes_to_the_byte 0 "" bin/train $run --run.dir="$room/verify" --verify-resume 2
try the_method_keeps_what_it_was_told 0 '"tokens_kept": [38, 25]' bin/eval --config configs/quickstart.ini --checkpoint "$room/pruned/model.safetensors" --model.weights= --quiet --json
try the_backbone_has_its_row 0 "infer deit_xs" bin/bench --case infer --model deit_xs --batch 1 --steps 1 --image 32
