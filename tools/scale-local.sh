#!/usr/bin/env bash
# One process of two threads against two ranks of one thread: seconds of a step by the clock, and of cores, which depend less on what else the machine
# does. Each figure is a run of STEPS + 1 steps less one of a single step, so that start and evaluation are not in it. The two take turns, and in
# every second round the other one begins; then medians, and that of the rounds' ratios. tools/scale-local.sh [ROUNDS [STEPS [MODEL]]]
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-5} steps=${2:-8} model=${3:-deit_t}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
export QUICKSTART=$room
bin/shapes "$room/pictures" --train $((16 * (steps + 2))) --val 20 --size 224 --seed 1 --quiet
TIMEFORMAT="%R %U %S"
timed() { # STEPS OPTIONS...: "CLOCK CORES"
    local count=$1; shift
    { time bin/train --config configs/quickstart_dense.ini --quiet --model.arch="$model" --data.image_size=224 --train.batch=16 --train.lanes=2 --train.epochs=1 \
        --train.warmup_epochs=0 --train.max_steps="$count" --run.tensorboard=no --latency.budget= --run.dir="$room/run" --resume never --run.threads=2 "$@" > "$room/said" 2>&1 || [ $? = 75 ] ||
        { cat "$room/said" >&2; exit 1; }; } 2> "$room/time"
    awk '{ print $1, $2 + $3 }' "$room/time"
}
trial() { # NAME OPTIONS...: a line of FILE NAME: "CLOCK CORES" of a step
    local name=$1 one all; shift
    one=$(timed 1 "$@") all=$(timed $((steps + 1)) "$@")
    awk -v one="$one" -v all="$all" -v n="$steps" 'BEGIN { split(one, a); split(all, b); printf "%.4f %.4f\n", (b[1] - a[1]) / n, (b[2] - a[2]) / n }' | tee -a "$room/$name"
}
process() { printf 'round %d  1 process, 2 threads  ' "$1"; trial process; }
ranks() { printf 'round %d  2 ranks of 1 thread  ' "$1"; trial ranks --ranks 2; }
median() { sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
column() { awk -v c="$2" '{ print $c }' "$room/$1" | median; }
ratio() { paste "$room/ranks" "$room/process" | awk -v c="$1" '{ print $c / $(c + 2) }' | median; }
echo "$model, batch 16, $steps steps, $(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg); seconds of a step: by the clock, of cores"
timed 1 > /dev/null # reads what later runs find in memory
for ((i = 1; i <= rounds; i++)); do
    if ((i % 2)); then process $i; ranks $i; else ranks $i; process $i; fi
done
echo "median   1 process, 2 threads  $(column process 1) $(column process 2)"
echo "median   2 ranks of 1 thread  $(column ranks 1) $(column ranks 2)"
echo "median of ranks / process  $(ratio 1) $(ratio 2)   (load $(cut -d ' ' -f 1 /proc/loadavg))"
