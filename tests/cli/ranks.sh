#!/usr/bin/env bash
# One run made by several processes: the same bytes for 1, 2 and 4 of them, started by train or by hand; ranks that are killed, stopped, told to stop, or
# that differ; going on with another number of them. KILLS: at how many moments (default 3).
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"
unset SIEVE_MASTER SIEVE_RANK SIEVE_RANKS
bin/shapes "$room/pictures" --train 200 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
recipe="--config configs/quickstart_dense.ini --quiet --train.epochs=3 --train.batch=20 --train.save_every=2 --train.warmup_epochs=0 --train.ema=0.9 --data.mixup=0.8
        --data.cutmix=1 --data.augment=rand-m9-mstd0.5-inc1 --data.cache_mb=0 --latency.runs=3 --latency.warm_up=1 --run.tensorboard=no --run.rank_timeout=10"
run() { # DIR MORE... -> exit code in rc, what was said in said
    local dir=$1; shift
    said=$(bin/train $recipe --run.dir="$dir" "$@" 2>&1 < /dev/null); rc=$?
}
same() { cmp -s "$room/one/last.safetensors" "$1/last.safetensors" && cmp -s "$room/one/best.safetensors" "$1/best.safetensors" && cmp -s "$room/one/model.safetensors" "$1/model.safetensors"; }
ends_alike() { # NAME DIR
    if [ "$rc" = 0 ] && same "$2"; then echo "ok $1"; else echo "not ok $1: exit $rc, or other bytes than one process: $said"; fi
}
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }

run "$room/one"
says one_process_ends 0 ""
for ranks in 2 4; do
    run "$room/r$ranks" --ranks $ranks
    ends_alike "${ranks}_ranks_end_with_the_bytes_of_one" "$room/r$ranks"
done

run "$room/rounded1" --train.wire=bf16
run "$room/rounded3" --train.wire=bf16 --ranks 3
if [ "$rc" = 0 ] && cmp -s "$room/rounded1/last.safetensors" "$room/rounded3/last.safetensors"; then echo "ok rounded_on_the_wire_3_ranks_have_the_bytes_of_one"; else echo "not ok rounded_on_the_wire_3_ranks_have_the_bytes_of_one: exit $rc: $said"; fi

pruned="--config configs/quickstart.ini --quiet --model.weights=$room/one/model.safetensors --pruning.keep=0.7,0.4 --latency.budget= --train.epochs=2 --train.batch=20 --train.lanes=5
        --latency.runs=3 --latency.warm_up=1 --run.tensorboard=no"
for ranks in 1 2 4; do
    said=$(bin/train $pruned --run.dir="$room/pruned$ranks" --ranks $ranks 2>&1 < /dev/null); rc=$?
    if [ $rc = 0 ] && cmp -s "$room/pruned1/last.safetensors" "$room/pruned$ranks/last.safetensors" && cmp -s "$room/pruned1/model.safetensors" "$room/pruned$ranks/model.safetensors"
    then echo "ok selectors_trained_by_${ranks}_ranks"; else echo "not ok selectors_trained_by_${ranks}_ranks: exit $rc: $said"; fi
done

# ---- by hand --------------------------------------------------------------------------------------------------------
port=$((20000 + RANDOM % 20000))
by_hand() { # DIR RANKS MORE-FOR-THE-LAST...: exit codes in codes
    local dir=$1 ranks=$2 pids=() r; shift 2
    for ((r = 0; r < ranks; r++)); do
        SIEVE_MASTER=127.0.0.1:$port SIEVE_RANK=$r SIEVE_RANKS=$ranks bin/train $recipe --run.dir="$dir" $([ $r = $((ranks - 1)) ] && printf '%s ' "$@") > "$room/said$r" 2>&1 < /dev/null &
        pids+=($!)
    done
    codes=""
    for r in "${pids[@]}"; do wait "$r"; codes+="$? "; done
    port=$((port + 1))
}
by_hand "$room/hand" 3
said=$(cat "$room"/said?)
if [ "$codes" = "0 0 0 " ] && same "$room/hand"; then echo "ok ranks_started_by_hand_end_with_the_same_bytes"; else echo "not ok ranks_started_by_hand_end_with_the_same_bytes: exits $codes: $said"; fi
by_hand "$room/other" 3 --run.seed=2
rc=${codes%% *}; said=$(cat "$room/said0")
says a_rank_with_another_config_is_named 2 "rank 2 differs from rank 0 in its config"
[ "$codes" = "2 2 2 " ] && echo "ok all_ranks_refuse_together" || echo "not ok all_ranks_refuse_together: exits $codes"

# ---- mistakes -------------------------------------------------------------------------------------------------------
run "$room/many" --ranks 5
says more_ranks_than_lanes 2 "use at most 4 ranks"
run "$room/none" --ranks 0
says no_rank 2 "--ranks 0"
run "$room/dry" --ranks 2 --dry-run
says a_dry_run_is_for_one 2 "--dry-run"

# ---- lost -----------------------------------------------------------------------------------------------------------
begin() { # DIR RANKS MORE...: in the background, pid of rank 0 in pid, when rank 0 has said who the others are
    local dir=$1 ranks=$2; shift 2
    bin/train $recipe --run.dir="$dir" --ranks "$ranks" "$@" > "$room/said" 2>&1 < /dev/null & pid=$!
    for ((i = 0; i < 500; i++)); do grep -q "processes of ranks 1 and on" "$dir/log.txt" 2> /dev/null && break; sleep 0.02; done
    others=($(grep "processes of ranks 1 and on" "$dir/log.txt" | tail -n 1 | sed 's/.*://'))
}
ended() { # waits for rank 0: rc, said, and how long it took since $1 in took
    wait "$pid"; rc=$?; took=$(since "$1"); said=$(cat "$room/said")
}
gone() { # NAME PID...: no process is left
    local name=$1 p left=""; shift
    for ((i = 0; i < 100; i++)); do left=""; for p in "$@"; do kill -0 "$p" 2> /dev/null && left+="$p "; done; [ -z "$left" ] && break; sleep 0.05; done
    if [ -z "$left" ]; then echo "ok $name"; else echo "not ok $name: $left"; fi
}
lost_well() { # NAME DIR: exit 75, the rank is named, the checkpoint whole
    if [ "$rc" != 75 ]; then echo "not ok $1: exit $rc, expected 75: $said"
    elif ! grep -qE "rank [0-9] \(process [0-9]+\) of [0-9] is lost" <<< "$said"; then echo "not ok $1: no rank is named in: $said"
    elif [ -e "$2/last.safetensors" ] && ! bin/eval --inspect "$2/last.safetensors" > /dev/null 2>&1; then echo "not ok $1: no whole checkpoint"
    else echo "ok $1 (after $took s)"; fi
}
kills=${KILLS:-3}
for ((k = 1, tries = 0; k <= kills && tries < 3 * kills; k++, tries++)); do # a run that ended before its kill does not count
    begin "$room/killed" 4
    sleep "$(awk -v s=$RANDOM 'BEGIN { printf "%.2f", 0.6 * s / 32767 }')"
    at=$(now); victim=${others[RANDOM % 3]}
    kill -9 "$victim" 2> /dev/null
    ended "$at"
    if [ "$rc" = 0 ]; then rm -rf "$room/killed"; k=$((k - 1)); continue; else lost_well "killed_rank_${k}_is_named" "$room/killed"; fi
    gone "no_rank_is_left_after_kill_$k" "${others[@]}"
done
run "$room/killed" --ranks 2
ends_alike going_on_with_2_ranks_after_kills_of_4_gives_the_same_bytes "$room/killed"

begin "$room/stopped" 3 --run.rank_timeout=2
at=$(now)
kill -STOP "${others[0]}"
ended "$at"
lost_well a_stopped_rank_is_named "$room/stopped"
if awk -v t="$took" 'BEGIN { exit !(t < 2 + 2.5) }'; then echo "ok a_stopped_rank_is_noticed_in_time"; else echo "not ok a_stopped_rank_is_noticed_in_time: $took s"; fi # 2 s, and 2 to part
gone a_stopped_rank_is_ended "${others[@]}"
run "$room/stopped"
ends_alike going_on_alone_gives_the_same_bytes "$room/stopped"

begin "$room/headless" 3
kill -9 "$pid"
{ wait "$pid"; } 2> /dev/null
gone ranks_end_when_rank_0_is_killed "${others[@]}"

begin "$room/hung" 3 --run.rank_timeout=2
kill -STOP "$pid"
gone_but_zombies() { # none runs; its children stay in the table until it goes on
    for ((i = 0; i < 200; i++)); do [ -z "$(ps -o stat= -p "$(IFS=,; echo "${others[*]}")" | grep -v Z)" ] && break; sleep 0.05; done
    if [ $i -lt 200 ]; then echo "ok ranks_end_when_rank_0_is_stopped"; else echo "not ok ranks_end_when_rank_0_is_stopped"; fi
}
gone_but_zombies
kill -CONT "$pid"
ended "$(now)"
lost_well rank_0_that_goes_on_finds_itself_alone "$room/hung"

begin "$room/asked" 3
kill -TERM "${others[1]}"
ended "$(now)"
says a_rank_asked_to_stop_stops_all 75 "and saved"
run "$room/asked" --ranks 4
ends_alike going_on_with_4_ranks_gives_the_same_bytes "$room/asked"

broken=$(find "$room/pictures/train" -type f | sort | head -n 1)
head -c 100 "$broken" > "$broken.cut" && mv "$broken.cut" "$broken"
run "$room/bad" --ranks 3
says a_broken_picture_stops_all_ranks 3 "$broken"
run "$room/bad1" --data.max_bad=0.02
run "$room/bad" --ranks 3 --data.max_bad=0.02 --resume never
if [ $rc = 0 ] && cmp -s "$room/bad1/last.safetensors" "$room/bad/last.safetensors"; then echo "ok a_broken_picture_is_left_out_alike"; else echo "not ok a_broken_picture_is_left_out_alike: exit $rc: $said"; fi
says the_rank_that_met_it_says_so 0 "left out: $broken"
