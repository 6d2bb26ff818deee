#!/usr/bin/env bash
# A run of quickstart size that has a hard life: killed, asked to stop, pictures that break and come back, a slow disk, a disk that is full for a
# while, allocations that fail, the process gone inside a write, a clock that jumps; each a disaster a session, each session the same command. In the
# end its files are those of the same run left in peace. `make soak`, SOAK=minutes (default 30; decimals too). SOAK_SEED repeats a life.
set -u
cd "$(dirname "$0")/.." || exit 1
minutes=${SOAK:-30}
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART=$room
RANDOM=${SOAK_SEED:-$((RANDOM + $$))}
seed=$RANDOM
RANDOM=$seed
unset SIEVE_FAULT SIEVE_FAULT_COUNT
echo "seed $seed, $minutes minutes"
bin/shapes "$room/pictures" --train "${SOAK_PICTURES:-300}" --val 60 --size 64 --seed 1 --quiet || exit 1
recipe="--config configs/quickstart_dense.ini --quiet --train.batch=20 --train.save_every=3 --train.ema=0.9 --train.warmup_epochs=0 --data.cache_mb=0 --latency.runs=3 --latency.warm_up=1
        --train.epochs=100000 --run.keep_last=3 --run.keep_best=2 --run.log_mb=0.05 --train.spike_z=8 --data.augment=rand-m9-mstd0.5-inc1 --data.erase=0.25"
victim=$(find "$room/pictures/train" -type f | sort | head -n 1)
cp "$victim" "$room/whole"
declare -A ended
sessions=0 kills=0 bad=0 least=0 most=0
seconds() { awk -v s=$RANDOM -v t="$1" 'BEGIN { printf "%.2f", 0.3 + t * s / 32767 }'; }
resident() { local kib; kib=$(awk '/VmRSS/ { print $2 }' "/proc/$1/status" 2> /dev/null); [ -n "$kib" ] && { [ "$least" = 0 ] || [ "$kib" -lt "$least" ]; } && least=$kib; [ "${kib:-0}" -gt "$most" ] && most=$kib; }
complain() { echo "not ok $1"; head -c 1500 "$room/said"; bad=$((bad + 1)); }
session() { # NAME CODES FAULT HOW SECONDS: HOW: a signal after SECONDS, or "" to wait
    local name=$1 codes=$2 fault=$3 how=$4 pid code
    SIEVE_FAULT=$fault bin/train $recipe --run.dir="$room/hard" --train.max_time="${6:-20s}" > "$room/said" 2>&1 < /dev/null & pid=$!
    if [ -n "$how" ]; then
        sleep "$5"
        resident $pid
        { kill "-$how" $pid; } 2> /dev/null
    fi
    { wait $pid; } 2> /dev/null
    code=$?
    sessions=$((sessions + 1))
    ended["$name $code"]=$((${ended["$name $code"]:-0} + 1))
    [[ " $codes " == *" $code "* ]] || complain "session $sessions ($name, SIEVE_FAULT=$fault): exit $code"
    if [ -e "$room/hard/last.safetensors" ] && ! bin/eval --inspect "$room/hard/last.safetensors" > /dev/null 2>&1; then complain "session $sessions ($name): the checkpoint is not whole"; fi
}
# An even life: every kind of disaster in turn, at a random moment.
end=$(awk -v m="$minutes" 'BEGIN { printf "%d", m * 60 * 0.72 }') # the rest is for the same run in peace
while [ $SECONDS -lt "$end" ]; do
    case $((sessions % 9)) in
    0 | 4) session killed "137" "" 9 "$(seconds 6)"; kills=$((kills + 1)) ;;
    1) session asked_to_stop "75" "" TERM "$(seconds 4)" ;;
    2) session slow_disk "75 137" "slow:$((5 + RANDOM % 20))" 9 "$(seconds 5)"; kills=$((kills + 1)) ;;
    3) session full_disk "1 75" "write:$((1 + RANDOM % 150))+" "" 0 8s ;;
    5) head -c 100 "$room/whole" > "$victim.new" && mv "$victim.new" "$victim"
       session bad_picture "3 75" "" "" 0
       cp "$room/whole" "$victim.new" && mv "$victim.new" "$victim" ;;
    6) session no_room "1 75" "space:$((1 + RANDOM % 3))+" "" 0 8s ;;
    7) session gone_in_a_write "137 75" "$([ $((RANDOM % 2)) = 0 ] && echo "write" || echo "sync"):$((1 + RANDOM % 30))!,clock:100000000" "" 0 8s; kills=$((kills + 1)) ;;
    8) session no_memory "1 75" "alloc:$((1 + RANDOM % 8000))" "" 0 6s ;;
    esac
done
steps_an_epoch=$(grep -oE '"epoch_steps": [0-9]+' <<< "$(bin/train status "$room/hard" --json)" | grep -oE '[0-9]+$')
epochs=$(($(bin/train status "$room/hard" --json | grep -oE '"checkpoint_step": [0-9]+' | grep -oE '[0-9]+$') / steps_an_epoch + 1))
# Both to the end of the epoch the hard life came to. train.epochs is part of a run (its schedule), so both stop there by steps.
bin/train $recipe --run.dir="$room/hard" --train.max_steps=$((epochs * steps_an_epoch)) > "$room/said" 2>&1 < /dev/null
[ $? = 75 ] || complain "the last session: exit $?"
bin/train $recipe --run.dir="$room/calm" --train.max_steps=$((epochs * steps_an_epoch)) > "$room/said" 2>&1 < /dev/null
[ $? = 75 ] || complain "the run in peace: exit $?"
for what in "${!ended[@]}"; do echo "${ended[$what]} x $what"; done | sort -k3
echo "$sessions sessions, $kills of them killed, $epochs epochs, $((epochs * steps_an_epoch)) steps; resident $((least / 1024)) to $((most / 1024)) MiB; $((SECONDS / 60)) min $((SECONDS % 60)) s"
for file in last.safetensors best.safetensors; do
    if cmp -s "$room/hard/$file" "$room/calm/$file"; then echo "ok a_hard_life_ends_with_the_same_$file"; else complain "$file has other bytes than the run in peace"; fi
done
kept() { find "$room/$1" \( -name 'step-*' -o -name 'best-*' \) -printf '%f\n' | sort; }
if [ "$(kept hard | grep best-)" = "$(kept calm | grep best-)" ]; then echo "ok the_same_best_models_are_kept"; else complain "kept: $(kept hard), in peace $(kept calm)"; fi
cut -d, -f1-8 "$room/hard/metrics.csv" > "$room/rows"
if cut -d, -f1-8 "$room/calm/metrics.csv" | cmp -s - "$room/rows"; then echo "ok the_same_rows_of_metrics"; else complain "metrics.csv has other rows"; fi
[ $bad = 0 ]
