#!/usr/bin/env bash
# Backbones of several stages, as a user walks it: SPViT trained on built-in pictures, evaluated, drawn, classified; SPViT and DynamicViT's two paths from a
# latency table to a budget that is met; and what is not possible says so.
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
    try "${kind}_does_not_take_dynamicvit" 2 "pruning." bin/train --config $config $short --run.dir="$room/other_$kind" --pruning.method=dynamicvit
    try "${kind}_is_exact_alone" 2 "mask_eps = 0" bin/train --config $config $short --run.dir="$room/eps_$kind" --pruning.mask_eps=1e-6
done

# ---- from a table to a budget. Times of a formula come by the door for outside devices: `board` answers what `latency measure` asks.
cat > "$room/board" << 'end'
awk -F, 'NF == 3 { split($1, op, "."); by = op[1] == "living" || op[1] == "paths" ? 0.04 : op[1] == "block" ? 0.03 : 0.01; printf "%s,%f\n", $0, (op[1] == "block" ? 1 : 0.2) + by * $3 }'
end
quick="--threads 1 --latency.runs=3 --latency.warm_up=1 --latency.seconds=0.05"
tiny="--quiet --run.threads=1 --train.epochs=1 --train.batch=20 --train.warmup_epochs=0 --train.calibrate=40 --latency.runs=3 --latency.warm_up=1 --latency.seconds=0.05 --run.pictures=0 --run.tensorboard=no"
while read -r kind budget op; do
    config="--config configs/quickstart_$kind.ini --pruning.keep="
    try "${kind}_is_timed_by_parts" 0 "points in" bin/latency measure $config $quick --out "$room/$kind.csv"
    try "${kind}_table_knows_its_grids" 0 "$op" bin/latency show "$room/$kind.csv" --chart "$room/$kind.svg"
    try "${kind}_table_is_held_against_models" 0 "median off" bin/latency try $config $quick --latency.table="$room/$kind.csv"
    try "${kind}_is_timed_elsewhere" 0 "rows of a board" bin/latency measure $config --runner "sh '$room/board'" --device "a board" --out "$room/board_$kind.csv"
    try "${kind}_is_timed_as_if_here" 0 "rows of" bin/latency measure $config --runner "sh '$room/board'" --device "$(uname -n)" --out "$room/here_$kind.csv"
    try "${kind}_is_solved_for" 0 '"keep_ratios"' bin/latency solve $config --latency.table="$room/board_$kind.csv" --latency.budget="$budget" --json
    try "${kind}_says_what_cannot_be" 6 "Allow at least" bin/latency solve $config --latency.table="$room/board_$kind.csv" --latency.budget=20%
    try "${kind}_takes_ratios_that_fit" 0 "budget 1000.000 ms" bin/latency solve --config configs/quickstart_$kind.ini --latency.table="$room/board_$kind.csv" --latency.budget=1000ms
    run="$config $tiny --latency.budget=$budget"
    try "${kind}_trains_to_a_budget_and_is_measured" 0 '"measured_ms"' bin/train $run --latency.table="$room/here_$kind.csv" --run.dir="$room/met_$kind" --json
    grep -q '^1,1,' "$room/met_$kind/rounds.csv" && echo "ok ${kind}_says_its_round" || echo "not ok ${kind}_says_its_round: $(cat "$room/met_$kind/rounds.csv" 2>&1)"
    term="$run --latency.loss=lagrange --pruning.ratio_loss=penalty"
    try "${kind}_with_a_latency_term_resumes_to_the_byte" 0 "" bin/train $term --latency.table="$room/board_$kind.csv" --run.dir="$room/verify_budget_$kind" --verify-resume 3
    try "${kind}_with_a_latency_term" 0 '"predicted_ms"' bin/train $term --latency.table="$room/board_$kind.csv" --run.dir="$room/one_$kind" --json
    try "${kind}_with_a_latency_term_and_two_threads" 0 '"predicted_ms"' bin/train $term --latency.table="$room/board_$kind.csv" --run.threads=2 --run.dir="$room/two_$kind" --json
    same "${kind}_has_the_same_bytes_by_two_threads" "$room/one_$kind/model.safetensors" "$room/two_$kind/model.safetensors"
    try "${kind}_is_not_searched" 2 "alike" bin/search $config --search.form=cheap --model.weights="$room/one_$kind/model.safetensors" --run.dir="$room/search_$kind" --latency.budget="$budget"
done << 'end'
pit 6.6ms living.3
swin 17.5ms living.2
convnext 17.8ms paths.3
swin_dynamicvit 20ms paths.2
end
try a_run_measures_its_own_table 0 '"measured_ms"' bin/train --config configs/quickstart_pit.ini --pruning.keep= $tiny --latency.budget=500ms --run.dir="$room/own" --json
grep -q '^living.2,1,' "$room/own/latency.csv" && echo "ok its_table_stays_beside_it" || echo "not ok its_table_stays_beside_it: $(head -n 20 "$room/own/latency.csv" 2>&1)"
try a_table_of_another_backbone 4 "depths 1,2,1, not 1,2,2" bin/latency solve --config configs/quickstart_swin.ini --latency.table="$room/board_pit.csv" --latency.budget=10ms
try a_table_of_another_method 4 "selectors of spvit" bin/latency solve --config configs/quickstart_swin_dynamicvit.ini --latency.table="$room/board_swin.csv" --latency.budget=10ms
printf 'tokens,ms\n17,1.0\n' > "$room/plain.csv"
try plain_lines_name_no_grid 2 "tokens,ms" bin/latency import "$room/plain.csv" --out "$room/imported.csv" --config configs/quickstart_pit.ini
