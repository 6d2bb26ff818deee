#!/usr/bin/env bash
# One process of two threads against two ranks of one thread, in turn: seconds of the whole run (start, steps, one
# evaluation) and core seconds, which depend less on what else the machine does. tools/scale-local.sh [ROUNDS [STEPS [MODEL]]]
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-3} steps=${2:-8} model=${3:-deit_t}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
export QUICKSTART=$room
bin/shapes "$room/pictures" --train $((16 * (steps + 1))) --val 20 --size 224 --seed 1 --quiet
TIMEFORMAT="%R %U %S"
trial() { # WHAT OPTIONS...
    local what=$1; shift
    { time bin/train --config configs/quickstart_dense.ini --quiet --model.arch="$model" --data.image_size=224 --train.batch=16 --train.lanes=2 --train.epochs=1 \
        --train.warmup_epochs=0 --train.max_steps="$steps" --run.tensorboard=no --latency.budget= --run.dir="$room/run" --resume never --run.threads=2 "$@" > "$room/said" 2>&1 || [ $? = 75 ]; } 2> "$room/time"
    awk -v what="$what" -v steps="$steps" '{ printf "%-22s %7.2f s a step, %6.2f core seconds a step\n", what, $1 / steps, ($2 + $3) / steps }' "$room/time"
}
for ((i = 1; i <= rounds; i++)); do
    trial "1 process, 2 threads"
    trial "2 ranks of 1 thread" --ranks 2
done
