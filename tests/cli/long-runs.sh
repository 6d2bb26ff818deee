#!/usr/bin/env bash
# Long runs: an end by the clock, patience, checkpoints that stay, spikes that are skipped and the one roll-back, a disk without room, a clock that
# jumps, a log that is turned over, kills (KILLS: how many, default 4), words of other ranks, memory that stays, and `train status` at each of these.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"
bin/shapes "$room/pictures" --train 24 --val 10 --size 32 --seed 1 --quiet || echo "not ok shapes: exit $?"
recipe="--config configs/quickstart_dense.ini --quiet --train.batch=6 --data.image_size=32 --train.warmup_epochs=0 --latency.runs=3 --latency.warm_up=0
        --run.tensorboard=no --run.threads=1 --run.pictures=1"
run() { # DIR MORE...
    local dir=$room/$1; shift
    said=$(bin/train $recipe --run.dir="$dir" "$@" 2>&1 < /dev/null); rc=$?
}
same() { # NAME ONE OTHER: both runs ended with the same bytes
    if [ "$rc" = 0 ] && cmp -s "$room/$2/last.safetensors" "$room/$3/last.safetensors" && cmp -s "$room/$2/model.safetensors" "$room/$3/model.safetensors"; then echo "ok $1"
    else echo "not ok $1: exit $rc, $2 and $3 differ: $said"; fi
}
status() { # NAME DIR TEXT
    local shown
    shown=$(bin/train status "$room/$2" 2>&1)
    if grep -qF -- "$3" <<< "$shown"; then echo "ok $1"; else echo "not ok $1: '$3' is not in: $shown"; fi
}
step_in() { bin/train status "$room/$1" --json 2> /dev/null | grep -oE '"checkpoint_step": [0-9]+' | grep -oE '[0-9]+$' || echo 0; }
count() { find "$room/$1" -name "$2" | wc -l; }
holds() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: $2, expected $3"; fi; }

run calm --train.epochs=6
says a_calm_run_ends 0 ""
status a_finished_run_says_so calm ": finished (process"
run timed --train.epochs=6 --train.max_time=0.01s
says time_that_is_over_ends_a_run_ready_to_resume 75 "train.max_time is over"
status a_stopped_run_says_how_it_goes_on timed "the same command goes on"
for ((i = 0; i < 30; i++)); do run timed --train.epochs=6 --train.max_time=0.05s --train.save_every_min=0.0005 --run.keep_last=2; [ "$rc" = 75 ] || break; done
run timed --train.epochs=6
same stopped_by_the_clock_again_and_again_ends_with_the_same_bytes calm timed
run odd --train.max_time=3x
says a_time_that_is_none_is_refused 2 "8h, 90min or 45s"

run patient --train.epochs=200 --train.patience=2
says patience_ends_a_run 0 ""
if grep -q "no better top-1 since epoch" "$room/patient/log.txt" && [ "$(wc -l < "$room/patient/metrics.csv")" -lt 150 ]; then echo "ok patience_says_why"; else echo "not ok patience_says_why"; fi
cp "$room/patient/last.safetensors" "$room/before"
run patient --train.epochs=200 --train.patience=2
if [ $rc = 0 ] && cmp -s "$room/before" "$room/patient/last.safetensors"; then echo "ok a_run_that_ended_by_patience_stays_ended"; else echo "not ok a_run_that_ended_by_patience_stays_ended: exit $rc: $said"; fi

run plain --train.epochs=6 --train.save_every=1
run kept --train.epochs=6 --train.save_every=1 --run.keep_last=3 --run.keep_best=2
same keeping_checkpoints_changes_no_byte plain kept
holds the_latest_checkpoints_stay "$(count kept 'step-*')" 3
holds the_best_models_stay "$(count kept 'best-*')" 2
holds nothing_is_left_behind "$(count kept '.*.safetensors*')" 0
run back --train.epochs=6 --train.save_every=1 --resume "$(find "$room/kept" -name 'step-*' | sort | head -n 1)"
if cmp -s <(tail -c 2000000 "$room/kept/last.safetensors") <(tail -c 2000000 "$room/back/last.safetensors"); then echo "ok a_kept_checkpoint_can_be_gone_on_from"; else echo "not ok a_kept_checkpoint_can_be_gone_on_from: exit $rc: $said"; fi

wild="--train.epochs=10 --train.lr=0.3 --train.schedule=constant --train.spike_z=0.5 --train.max_bad_steps=1 --train.save_every=4"
run wild $wild
says spikes_are_skipped_and_a_broken_run_goes_back_once 0 "deviations above its mean"
says the_roll_back_is_said 0 "once, and passes over the pictures that led here"
for ((i = 0; i < 40; i++)); do run wilder $wild --train.max_time=0.02s; [ "$rc" = 75 ] || break; done
run wilder $wild
same spikes_and_roll_back_are_the_same_after_resumes wild wilder
run mad --train.epochs=4 --train.lr=100 --train.clip=0 --train.max_bad_steps=2 --train.save_every=1
NOTES=20 says a_run_beyond_recovery_ends_with_5 5 "not finite"
status a_failed_run_says_why mad "it said"

SIEVE_FAULT=space:3+ run tight --train.epochs=6
says a_disk_without_room_is_said_before_the_write 1 "MiB left; the file before stays as it was"
run tight --train.epochs=6
same a_run_goes_on_when_there_is_room calm tight

SIEVE_FAULT=clock:1000000000 run jumping --train.epochs=6 --run.tensorboard=yes
same a_clock_that_jumps_by_decades_changes_nothing calm jumping
loose=$(git grep -lE '\b(time\(NULL\)|gettimeofday|CLOCK_REALTIME)' -- '*.c' ':!tests' ':!base/interrupt.c' 2> /dev/null)
holds durations_are_of_the_monotonic_clock "$loose" ""

run chatty --train.epochs=40 --run.log_mb=0.001 --verbose
if [ -e "$room/chatty/log.1.txt" ] && [ "$(wc -c < "$room/chatty/log.txt")" -le 1100 ] && [ ! -e "$room/chatty/log.4.txt" ]; then echo "ok a_log_is_turned_over"; else echo "not ok a_log_is_turned_over: $(ls "$room/chatty")"; fi

bin/train $recipe --run.dir="$room/killed" --train.epochs=100000 > /dev/null 2>&1 < /dev/null & pid=$!
for ((i = 0; i < 300; i++)); do [ -e "$room/killed/last.safetensors" ] && break; sleep 0.05; done
find "$room/killed" -name .lock | xargs ls -l --time-style=full-iso > "$room/lock.before"
status a_running_run_is_seen killed ": running (process $pid on"
grep -oE '"state": "[a-z]*"' <<< "$(bin/train status "$room/killed" --json)" | grep -q running && echo "ok status_is_told_as_json" || echo "not ok status_is_told_as_json"
find "$room/killed" -name .lock | xargs ls -l --time-style=full-iso | cmp -s - "$room/lock.before" && echo "ok looking_leaves_the_lock_alone" || echo "not ok looking_leaves_the_lock_alone"
resident() { awk '/VmRSS/ { print $2 }' "/proc/$pid/status"; }
for ((i = 0; i < 200; i++)); do [ "$(step_in killed)" -ge 40 ] && break; sleep 0.1; done
early=$(resident)
for ((i = 0; i < 200; i++)); do [ "$(step_in killed)" -ge 160 ] && break; sleep 0.1; done
late=$(resident)
if [ "$late" -le $((early + 1024)) ]; then echo "ok memory_stays_over_steps_and_epochs"; else echo "not ok memory_stays_over_steps_and_epochs: $early KiB, then $late KiB"; fi
{ kill -9 $pid; wait $pid; } 2> /dev/null
status a_killed_run_is_told_from_a_stopped_one killed ": crashed (process $pid"
said=$(bin/train status "$room/pictures" 2>&1); rc=$?
says a_folder_without_a_run_is_refused 2 "holds no run"

# Killed: every other time at a random moment, else at the n-th write, sync or rename, which is inside a checkpoint.
run quiet --train.epochs=12 --train.save_every=1
kills=${KILLS:-4} whole=0
for ((k = 0; k < kills; k++)); do
    [ "$(step_in hunted)" -ge 36 ] && rm -rf "$room/hunted"
    if [ $((k % 2)) = 0 ]; then
        bin/train $recipe --run.dir="$room/hunted" --train.epochs=12 --train.save_every=1 > /dev/null 2>&1 < /dev/null & pid=$!
        sleep "$(awk -v s=$RANDOM 'BEGIN { printf "%.3f", 0.01 + 0.4 * s / 32767 }')"
        { kill -9 $pid; wait $pid; } 2> /dev/null
    else
        kind=$(printf '%s\n' write sync rename | sed -n "$((k / 2 % 3 + 1))p")
        { SIEVE_FAULT="$kind:$((1 + RANDOM % (k / 2 % 3 ? 40 : 300)))!" bin/train $recipe --run.dir="$room/hunted" --train.epochs=12 --train.save_every=1 > /dev/null 2>&1 < /dev/null; } 2> /dev/null
    fi
    [ -e "$room/hunted/last.safetensors" ] || continue
    if bin/eval --inspect "$room/hunted/last.safetensors" > /dev/null 2>&1; then whole=$((whole + 1)); else echo "not ok killed_moment_$k: the checkpoint is not whole"; fi
done
run hunted --train.epochs=12 --train.save_every=1
same "killed_${kills}_times_ends_with_the_same_bytes" quiet hunted
echo "# $whole checkpoints looked at behind $kills kills"

broken=$(find "$room/pictures/train" -type f | sort | head -n 1)
head -c 100 "$broken" > "$broken.cut" && mv "$broken.cut" "$broken"
run ranks --train.epochs=3 --ranks 3 --data.max_bad=0.1
if [ $rc = 0 ] && grep -q "warning: rank [12]: left out: $broken" "$room/ranks/log.txt"; then echo "ok what_other_ranks_warn_of_is_in_the_log"
else echo "not ok what_other_ranks_warn_of_is_in_the_log: exit $rc: $(cat "$room/ranks/log.txt")"; fi
