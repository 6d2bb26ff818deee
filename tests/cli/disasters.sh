#!/usr/bin/env bash
# What happens to a run: killed at random moments, a full disk, a folder that cannot be written, pictures that vanish or break. Each time the last
# checkpoint is good, the exit code is the documented one, and going on ends with the bytes of an undisturbed run.
# KILLS: how many moments (default 6); DEATHS: how many inside the writes of checkpoints (default 3); DISKS: how many moments of a full disk
# (default 1). Moments are drawn from the time that an undisturbed run takes here. Needs mount for the full disk; says so where it may not.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d) || exit 1
small=$room/small
clean() { mountpoint -q "$small" && umount "$small"; rm -rf "$room"; }
trap clean EXIT
export QUICKSTART="$room"
bin/shapes "$room/pictures" --train 200 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
recipe="--config configs/quickstart_dense.ini --quiet --train.epochs=3 --train.batch=20 --train.save_every=2 --train.warmup_epochs=0 --train.ema=0.9
        --data.augment=rand-m9-mstd0.5-inc1 --data.erase=0.25 --data.repeats=2 --data.cache_mb=0 --latency.runs=3 --latency.warm_up=1 --run.tensorboard=no"
run() { # DIR MORE... -> exit code in rc, what was said in said
    local dir=$1; shift
    said=$(bin/train $recipe --run.dir="$dir" "$@" 2>&1 < /dev/null); rc=$?
}
ends_alike() { # NAME DIR
    if [ "$rc" = 0 ] && cmp -s "$room/calm/last.safetensors" "$2/last.safetensors" && cmp -s "$room/calm/model.safetensors" "$2/model.safetensors"; then echo "ok $1"
    else echo "not ok $1: exit $rc, other bytes than the undisturbed run: $said"; fi
}
good() { # NAME FILE: a whole checkpoint
    if bin/eval --inspect "$2" > /dev/null 2>&1; then echo "ok $1"; else echo "not ok $1: $2 is no whole checkpoint"; fi
}
began=$(date +%s.%N)
run "$room/calm"
seconds=$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { print b - a < 3 ? b - a : 3 }') # a run that was held up would leave the moments behind the end
says an_undisturbed_run_ends 0 ""

kills=${KILLS:-6}
for ((k = 0; k < kills; k++)); do
    bin/train $recipe --run.dir="$room/killed" > /dev/null 2>&1 < /dev/null & pid=$!
    sleep "$(awk -v s=$RANDOM -v t=$seconds 'BEGIN { printf "%.2f", 0.05 + t * s / 32767 }')"
    { kill -9 $pid; wait $pid; } 2> /dev/null
done
run "$room/killed"
ends_alike "killed_${kills}_times_ends_with_the_same_bytes" "$room/killed"

# gone inside the writing of checkpoints: at the n-th write, sync or rename of a run, each session a little further on
deaths=${DEATHS:-3}
for ((k = 0; k < deaths; k++)); do
    kind=$(printf '%s\n' write sync rename | sed -n "$((k % 3 + 1))p")
    { SIEVE_FAULT="$kind:$((1 + RANDOM % (k % 3 ? 20 : 120)))!" bin/train $recipe --run.dir="$room/gone" > /dev/null 2>&1 < /dev/null; } 2> /dev/null
    if [ -e "$room/gone/last.safetensors" ] && ! bin/eval --inspect "$room/gone/last.safetensors" > /dev/null 2>&1; then echo "not ok gone_inside_a_write: the checkpoint is not whole"; fi
done
run "$room/gone"
ends_alike "gone_${deaths}_times_inside_a_write_ends_with_the_same_bytes" "$room/gone"

# the same inside tar shards: small ones, read through a small shuffle buffer
bin/shards --from "$room/pictures/train" --to "$room/shards" --size-mb 1 --seed 3 --quiet || echo "not ok shards: exit $?"
sharded="--data.train=$room/shards --data.shuffle_buffer=30"
bin/train $recipe $sharded --run.dir="$room/calm_shards" > /dev/null 2>&1 < /dev/null || echo "not ok a_run_over_shards_ends: exit $?"
for ((k = 0; k < kills; k++)); do
    bin/train $recipe $sharded --run.dir="$room/killed_shards" > /dev/null 2>&1 < /dev/null & pid=$!
    sleep "$(awk -v s=$RANDOM -v t=$seconds 'BEGIN { printf "%.2f", 0.05 + t * s / 32767 }')"
    { kill -9 $pid; wait $pid; } 2> /dev/null
done
run "$room/killed_shards" $sharded
if [ "$rc" = 0 ] && cmp -s "$room/calm_shards/last.safetensors" "$room/killed_shards/last.safetensors"; then echo "ok killed_${kills}_times_inside_shards_ends_with_the_same_bytes"
else echo "not ok killed_${kills}_times_inside_shards_ends_with_the_same_bytes: exit $rc: $said"; fi

mkdir "$small"
if mount -t tmpfs -o size=3m tmpfs "$small" 2> /dev/null; then
    head -c 1200000 /dev/zero > "$small/other"
    run "$small/run"
    says a_full_disk_is_said 1 "$small/run"
    [ -e "$small/run/last.safetensors" ] && good the_checkpoint_before_the_full_disk_is_whole "$small/run/last.safetensors"
    rm "$small/other"
    mount -o remount,size=64m "$small"
    run "$small/run"
    ends_alike a_run_goes_on_when_there_is_room "$small/run"
    disks=${DISKS:-1} full=0
    rm -rf "$small/run" "$small/.run"*
    for ((k = 0; k < 5 * disks && full < disks; k++)); do
        bin/train $recipe --run.dir="$small/run" > "$room/said" 2>&1 < /dev/null & pid=$!
        sleep "$(awk -v s=$RANDOM -v t=$seconds 'BEGIN { printf "%.2f", 0.05 + t * s / 32767 }')"
        cat /dev/zero > "$small/other" 2> /dev/null
        wait $pid; rc=$?; said=$(cat "$room/said")
        rm "$small/other"
        case $rc in
        0) rm -rf "$small/run" ;; # it was done before
        1) full=$((full + 1)); grep -qF "$small/" <<< "$said" || echo "not ok a_disk_that_fills_up: the file is not named: $said" ;;
        *) echo "not ok a_disk_that_fills_up: exit $rc: $said" ;;
        esac
        if [ -e "$small/run/last.safetensors" ] && ! bin/eval --inspect "$small/run/last.safetensors" > /dev/null 2>&1; then echo "not ok a_disk_that_fills_up: the checkpoint is not whole"; fi
    done
    run "$small/run"
    ends_alike "a_disk_that_filled_up_${full}_times_ends_with_the_same_bytes" "$small/run"
    [ -n "${DISKS:-}" ] && echo "# $full of $k runs met the full disk"
    mount -o remount,ro "$small"
    run "$small/run" --resume never
    says a_folder_that_cannot_be_written_is_said 1 "$small/run"
    good a_read_only_folder_loses_nothing "$small/run/last.safetensors"
else
    echo "skip a_full_disk_is_said: tmpfs cannot be mounted here"
fi

cp -r "$room/pictures" "$room/more"
bin/train $recipe --data.train="$room/more/train" --run.dir="$room/vanished" > "$room/said" 2>&1 < /dev/null & pid=$!
for ((i = 0; i < 200; i++)); do [ -e "$room/vanished/last.safetensors" ] && break; sleep 0.02; done
mv "$room/more" "$room/away"
wait $pid; rc=$?; said=$(cat "$room/said")
says pictures_that_vanish_in_mid_run_are_said 3 "$room/more/train"
good the_checkpoint_before_they_vanished_is_whole "$room/vanished/last.safetensors"
mv "$room/away" "$room/more"
bin/train $recipe --data.train="$room/more/train" --run.dir="$room/vanished" > /dev/null 2>&1 < /dev/null; rc=$?
bin/train $recipe --data.train="$room/more/train" --run.dir="$room/stayed" > /dev/null 2>&1 < /dev/null
if [ $rc = 0 ] && cmp -s "$room/vanished/last.safetensors" "$room/stayed/last.safetensors"; then echo "ok a_run_goes_on_when_they_are_back"
else echo "not ok a_run_goes_on_when_they_are_back: exit $rc"; fi

broken=$(find "$room/more/train" -type f | sort | head -n 1)
head -c 100 "$broken" > "$broken.cut" && mv "$broken.cut" "$broken"
run "$room/bad" --data.train="$room/more/train"
says a_broken_picture_stops_a_strict_run 3 "$broken"
run "$room/bad" --data.train="$room/more/train" --data.max_bad=0.02 --resume never
says a_broken_picture_is_left_out_of_a_patient_run 0 "left out: $broken"
