#!/usr/bin/env bash
# From a budget to a model: rounds of train, measure, tighten; the latency term; the search for places and ratios; tables of devices.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"

say() { # NAME TRUE-OR-FALSE DETAIL
    if [ "$2" = 0 ]; then echo "ok $1"; else echo "not ok $1: ${3:-}"; fi
}

# A table of vit_nano by a formula: of a device called $1, times $2 of it.
table() {
    awk -v device="$1" -v by="$2" 'BEGIN { printf "# device: %s\n# arch: vit_nano\n# image: 64\n# patch: 8\n# depth: 6\n# width: 96\n# heads: 3\n# selector: spvit\nop,batch,tokens,ms_median,ms_p95\n", device
        for (n = 1; n < 73; n++) printf "block,1,%d,%.6f,99\nselector,1,%d,%.6f,99\n", n, by * (1 + n), n, by * (0.1 + n / 100)
        printf "embed,1,65,%.6f,99\nhead,1,65,%.6f,99\n", by * 0.3, by * 0.1 }'
}

bin/shapes "$room/pictures" --train 200 --val 60 --size 64 --seed 1 --quiet || echo "not ok shapes_write_pictures: exit $?"
small="--quiet --run.threads=1 --train.epochs=1 --train.batch=20 --train.warmup_epochs=0 --train.calibrate=40 --latency.runs=3 --latency.warm_up=1 --run.pictures=0 --run.tensorboard=no"
bin/train --config configs/quickstart_dense.ini $small > /dev/null 2>&1 || echo "not ok dense_run: exit $?"
pruned="--config configs/quickstart.ini $small"
table "a board" 1 > "$room/board.csv"

# ---- the latency term: resumed to the byte, said in metrics
term="$pruned --latency.table=$room/board.csv --latency.budget=60% --pruning.ratio_loss=penalty"
for form in penalty lagrange; do
    try "verify_resume_with_latency_$form" 0 "" bin/train $term --latency.loss=$form --run.dir="$room/verify_$form" --verify-resume 3
done
try lagrange_run 0 "" bin/train $term --latency.loss=lagrange --run.dir="$room/lagrange"
try lagrange_run_stops 75 "goes on from" bin/train $term --latency.loss=lagrange --run.dir="$room/lagrange_again" --train.max_steps=4
try lagrange_run_goes_on 0 "" bin/train $term --latency.loss=lagrange --run.dir="$room/lagrange_again"
same resumed_lagrange_run_ends_with_the_same_bytes "$room/lagrange/model.safetensors" "$room/lagrange_again/model.safetensors"
head -n 1 "$room/lagrange/metrics.csv" | grep -q "loss_latency.*sampled_ms,multiplier_ms,goal_ms"; say metrics_tell_the_latency_multiplier $?
try targets_follow_what_is_kept 0 "solved anew" bin/train $pruned --latency.table="$room/board.csv" --pruning.rule=argmax --pruning.selector_init_keep_bias=no --train.epochs=3 --run.dir="$room/follow" --verbose

# ---- rounds: a table that promises too much, on this machine
table "$(uname -n)" 0.00005 > "$room/liar.csv"
round="$pruned --latency.table=$room/liar.csv --latency.budget=80% --latency.rounds=1 --latency.keep_least=0.02"
bin/train $round --latency.budget=0.02ms --run.dir="$room/rounds" > "$room/rounds.txt" 2>&1
[ $? = 6 ]; say rounds_that_do_not_suffice_end_with_code_6 $? "$(cat "$room/rounds.txt")"
[ "$(cut -d, -f1,2,3 "$room/rounds/rounds.csv" | sed -n 2p)" = 1,1,0.02 ]; say a_round_has_its_line $? "$(cat "$room/rounds/rounds.csv")"
grep -q "Rounds to the budget" "$room/rounds/report.html"; say the_page_shows_the_rounds $?

# ---- the search: both forms, killed and resumed, its outcome taken by train
search="--config configs/quickstart.ini $small --latency.table=$room/board.csv --search.first_block=3 --search.hold_out=40 --search.tolerance=0.9 --search.grid=0.6,0.3"
plain() { sed "s#$2#DIR#g" "$1"; }
for form in cheap full; do
    try "search_$form" 0 '"at"' bin/search $search --search.form=$form --run.dir="$room/whole_$form" --latency.budget=70% --json
    for pause in 0.4 0.9 1.7 3 6 60 200; do
        timeout -s KILL $pause bin/search $search --search.form=$form --run.dir="$room/killed_$form" --latency.budget=70% --run.threads=2 > "$room/killed.txt" 2>&1 < /dev/null && break
    done
    for file in outcome.ini trials.csv; do
        plain "$room/whole_$form/$file" "$room/whole_$form" | grep -v '^threads = ' > "$room/a"
        plain "$room/killed_$form/$file" "$room/killed_$form" | grep -v '^threads = ' > "$room/b"
        same "killed_search_${form}_ends_with_the_same_$file" "$room/a" "$room/b"
    done
    try "outcome_of_search_${form}_is_taken_by_train" 0 "selector 1  before block" bin/train --config "$room/whole_$form/outcome.ini" --dry-run
    [ -z "$(find "$room/whole_$form" -name 'trial-*')" ]; say "search_${form}_leaves_no_trial_behind" $? "$(ls "$room/whole_$form")"
done
grep -q '^at = ' "$room/whole_full/outcome.ini" && grep -q 'model.weights = .*accepted-' "$room/whole_full/outcome.ini"; say outcome_says_where_to_go_on_from $?
try search_of_too_few_ratios_says_so 6 "search.first_block" bin/search $search --search.form=cheap --run.dir="$room/few" --latency.budget=20% --search.grid=0.6
try search_with_another_config 2 "another config" bin/search $search --search.form=cheap --run.dir="$room/few" --latency.budget=20% --search.grid=0.5
try search_of_a_dense_method 2 "pruning.method" bin/search $search --pruning.method=none --run.dir="$room/none"
try search_without_weights 2 "model.weights" bin/search $search --model.weights= --run.dir="$room/none"
try search_behind_the_last_block 2 "search.first_block" bin/search $search --search.first_block=6 --run.dir="$room/none"
try search_of_a_rising_grid 2 "search.grid" bin/search $search --search.grid=0.3,0.6 --run.dir="$room/none"
sed -i '4s/,/;/' "$room/few/trials.csv"
try search_by_a_damaged_list 4 "trials.csv:4" bin/search $search --search.form=cheap --run.dir="$room/few" --latency.budget=20% --search.grid=0.6
try held_out_pictures_take_the_place_of_validation 0 '"images": 30' bin/train $pruned --latency.budget= --pruning.keep=0.6,0.4 --data.hold_out=30 --run.dir="$room/held" --json
try all_pictures_held_out 2 "data.hold_out" bin/train $pruned --latency.budget= --data.hold_out=200 --run.dir="$room/none"

# ---- one program with nothing beside it, for a device
tables="--config configs/quickstart.ini --quiet --latency.runs=3 --latency.warm_up=0 --latency.seconds=0.01 --model.depth=2 --pruning.at=1 --pruning.keep=0.5"
if make --no-print-directory latency-static > "$room/static.txt" 2>&1; then
    if command -v ldd > /dev/null && ldd bin/latency-static > /dev/null 2>&1; then echo "not ok static_program_needs_no_library: $(ldd bin/latency-static)"; else echo "ok static_program_needs_no_library"; fi
    try static_program_measures 0 "" bin/latency-static measure $tables --out "$room/static.csv"
    try static_programs_table_is_read 0 "block" bin/latency show "$room/static.csv"
elif grep -q "cannot find -l" "$room/static.txt"; then
    echo "skip static_program: this system has no static libraries ($(grep -m 1 -o 'cannot find -l.*' "$room/static.txt"))"
else
    echo "not ok static_program_is_built: $(tail -n 3 "$room/static.txt")"
fi
if ! tools/install-deps.sh --check-only --arm > "$room/missing" 2>&1; then echo "skip aarch64_static_program: $(head -n 1 "$room/missing")"
elif [ -z "${SIEVE_CHECK_SLOW:-}" ] && [ ! -f build/aarch64-linux-gnu-release/libsieve.a ]; then echo "skip aarch64_static_program: compiles the library once more; in make check ARGS=--ci"
else
    make --no-print-directory latency-static CROSS=aarch64-linux-gnu- > "$room/arm.txt" 2>&1
    say aarch64_static_program_is_built $? "$(tail -n 3 "$room/arm.txt")"
    try aarch64_static_program_measures 0 "" qemu-aarch64 build/aarch64-linux-gnu-release/bin/latency-static measure $tables --threads 1 --out "$room/arm.csv"
    grep -q '^# isa: neon' "$room/arm.csv"; say aarch64_table_names_its_instructions $? "$(head -n 8 "$room/arm.csv" 2>&1)"
    try table_of_an_arm_is_said_to_be_another_machines 0 "another machine or setting" bin/train $pruned --latency.table="$room/arm.csv" --latency.budget=90% --model.depth=2 --pruning.at=1 --model.weights= --dry-run
fi
