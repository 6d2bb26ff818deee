#!/usr/bin/env bash
# Ranks in network namespaces of their own, started by hand: the bytes of one process; a line that is cut to one rank, or only between two of them, is
# noticed in time by all, and the run goes on from its checkpoint to the same bytes. Needs root for namespaces, skipped without.
set -u
cd "$(dirname "$0")/../.." || exit 1
if [ "$(id -u)" -ne 0 ] || ! ip netns add "sv$$-hub" 2> /dev/null; then echo "skip network: namespaces need root (ip netns add)"; exit 0; fi
room=$(mktemp -d) || exit 1
trap 'for n in 0 1 2 hub; do ip netns del "sv$$-$n" 2> /dev/null; done; rm -rf "$room"' EXIT
export QUICKSTART="$room"
unset SIEVE_MASTER SIEVE_RANK SIEVE_RANKS
wire() { # three ranks on one bridge
    ip -n "sv$$-hub" link add hub type bridge && ip -n "sv$$-hub" link set hub up || return 1
    for n in 0 1 2; do
        ip netns add "sv$$-$n" && ip -n "sv$$-hub" link add "line$n" type veth peer name eth0 netns "sv$$-$n" && ip -n "sv$$-hub" link set "line$n" master hub up &&
            ip -n "sv$$-$n" address add "10.77.1.$((n + 1))/24" dev eth0 && ip -n "sv$$-$n" link set eth0 up && ip -n "sv$$-$n" link set lo up || return 1
    done
}
if ! wire 2> "$room/why"; then echo "skip network: no bridge of namespaces here: $(head -n 1 "$room/why")"; exit 0; fi
bin/shapes "$room/pictures" --train 200 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
recipe="--config configs/quickstart_dense.ini --quiet --train.epochs=3 --train.batch=20 --train.save_every=2 --train.warmup_epochs=0 --train.ema=0.9
        --data.cache_mb=0 --latency.runs=3 --latency.warm_up=1 --run.tensorboard=no --run.threads=1 --run.rank_timeout=3"
same() { cmp -s "$room/one/last.safetensors" "$1/last.safetensors" && cmp -s "$room/one/model.safetensors" "$1/model.safetensors"; }
alone() { said=$(bin/train $recipe --run.dir="$1" 2>&1 < /dev/null); rc=$?; }
begin() { # DIR: pids
    pids=()
    for n in 0 1 2; do
        SIEVE_MASTER=10.77.1.1:7070 SIEVE_RANK=$n SIEVE_RANKS=3 ip netns exec "sv$$-$n" bin/train $recipe --run.dir="$1" > "$room/said$n" 2>&1 < /dev/null &
        pids+=($!)
    done
}
under_way() { for ((i = 0; i < 1500; i++)); do grep -q "processes of ranks 1 and on" "$1/log.txt" 2> /dev/null && break; sleep 0.02; done; sleep 0.3; }
ended() {
    codes=""
    for pid in "${pids[@]}"; do wait "$pid"; codes+="$? "; done
}
noticed() { # NAME SINCE: all end with 75 within the timeout and what parting takes
    local took; took=$(awk -v a="$2" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
    if [ "$codes" != "75 75 75 " ]; then echo "not ok $1: exits $codes: $(cat "$room"/said?)"
    elif ! grep -q "is lost" "$room/said0"; then echo "not ok $1: nobody is named: $(cat "$room"/said?)"
    elif awk -v t="$took" 'BEGIN { exit !(t > 15) }'; then echo "not ok $1: took $took s"
    else echo "ok $1 (after $took s: $(grep -ho 'rank [0-9].*is lost: it [^;]*' "$room/said0"))"; fi
}
goes_on() { # NAME DIR
    alone "$2"
    if [ "$rc" = 0 ] && same "$2"; then echo "ok $1"; else echo "not ok $1: exit $rc, or other bytes: $said"; fi
}
alone "$room/one"
[ $rc = 0 ] && echo "ok one_process_ends" || echo "not ok one_process_ends: exit $rc: $said"
begin "$room/three"
ended
if [ "$codes" = "0 0 0 " ] && same "$room/three"; then echo "ok three_ranks_on_a_network_end_with_the_bytes_of_one"; else echo "not ok three_ranks_on_a_network_end_with_the_bytes_of_one: exits $codes: $(cat "$room"/said?)"; fi

begin "$room/cut"
under_way "$room/cut"
at=$(date +%s.%N)
ip -n "sv$$-hub" link set line1 down
ended
noticed a_line_that_is_cut_ends_all_ranks "$at"
ip -n "sv$$-hub" link set line1 up
goes_on after_a_cut_line_the_run_goes_on_to_the_same_bytes "$room/cut"

begin "$room/part"
under_way "$room/part"
at=$(date +%s.%N)
ip -n "sv$$-1" route add blackhole 10.77.1.3/32
ip -n "sv$$-2" route add blackhole 10.77.1.2/32
ended
noticed a_road_cut_between_two_ranks_ends_all "$at"
goes_on after_it_the_run_goes_on_to_the_same_bytes "$room/part"
