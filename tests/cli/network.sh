#!/usr/bin/env bash
# Ranks in network namespaces of their own, started by hand: the bytes of one process; a line that is cut to one rank, or only between two of them, is
# noticed in time by all, and the run goes on from its checkpoint to the same bytes. Then the same on lines of 1 ms (tools/delay_line.c), one of which
# swallows everything without a word. Needs root for namespaces, and the tun driver for delays; skipped without.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tools/networks.sh
if [ "$(id -u)" -ne 0 ] || ! ip netns add "sv$$-0" 2> /dev/null; then echo "skip network: namespaces need root (ip netns add)"; exit 0; fi
room=$(mktemp -d) || exit 1
trap 'net_clear; rm -rf "$room"' EXIT
export QUICKSTART="$room"
unset SIEVE_MASTER SIEVE_RANK SIEVE_RANKS
net_clear
if ! net_bridge 3 2> "$room/why"; then echo "skip network: no bridge of namespaces here: $(head -n 1 "$room/why")"; exit 0; fi
bin/shapes "$room/pictures" --train 200 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
recipe="--config configs/quickstart_dense.ini --quiet --train.epochs=3 --train.batch=20 --train.save_every=2 --train.warmup_epochs=0 --train.ema=0.9
        --data.cache_mb=0 --latency.runs=3 --latency.warm_up=1 --run.tensorboard=no --run.threads=1 --run.rank_timeout=3"
same() { cmp -s "$room/one/last.safetensors" "$1/last.safetensors" && cmp -s "$room/one/model.safetensors" "$1/model.safetensors"; }
alone() { said=$(bin/train $recipe --run.dir="$1" 2>&1 < /dev/null); rc=$?; }
begin() { # DIR: pids
    pids=()
    for n in 0 1 2; do
        SIEVE_MASTER=10.77.0.1:7070 SIEVE_RANK=$n SIEVE_RANKS=3 ip netns exec "sv$$-$n" bin/train $recipe --run.dir="$1" > "$room/said$n" 2>&1 < /dev/null &
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
ip -n "sv$$-1" route add blackhole 10.77.0.3/32
ip -n "sv$$-2" route add blackhole 10.77.0.2/32
ended
noticed a_road_cut_between_two_ranks_ends_all "$at"
goes_on after_it_the_run_goes_on_to_the_same_bytes "$room/part"

if ! make --no-print-directory -s delay-line > "$room/why" 2>&1; then echo "not ok delay_line_is_built: $(tail -n 1 "$room/why")"; exit 0; fi
net_clear
if [ ! -c /dev/net/tun ] || ! net_delayed "$room/line" 3 --delay 1ms --rate 1gbit --swallow "sv$$-1"; then
    echo "skip a_line_of_1_ms: no TAP devices here: $(head -n 1 "$room/line" 2> /dev/null)"
    exit 0
fi
trip=$(build/release/tools/line_probe "sv$$-0" "sv$$-1" 10.77.0.2 --rounds 50 --megabytes 8 2>&1)
if awk '{ exit !($5 ~ /^[(]least/ && $6 + 0 >= 2) }' <<< "$trip"; then echo "ok no_packet_is_there_and_back_before_twice_the_delay ($trip)"
else echo "not ok no_packet_is_there_and_back_before_twice_the_delay: $trip"; fi
begin "$room/far"
ended
if [ "$codes" = "0 0 0 " ] && same "$room/far"; then echo "ok three_ranks_1_ms_apart_end_with_the_bytes_of_one"; else echo "not ok three_ranks_1_ms_apart_end_with_the_bytes_of_one: exits $codes: $(cat "$room"/said?)"; fi
begin "$room/swallowed"
under_way "$room/swallowed"
at=$(date +%s.%N)
kill -USR1 "$net_line"
ended
noticed a_line_that_swallows_everything_ends_all_ranks "$at"
grep -q "rank 1.*is lost" "$room/said0" || echo "not ok the_rank_behind_it_is_named: $(cat "$room/said0")"
goes_on after_it_too_the_run_goes_on_to_the_same_bytes "$room/swallowed"
kill "$net_line"; wait "$net_line"; rc=$?; net_line=""
if [ $rc = 0 ] && grep -q "sv$$-1: .* swallowed [1-9]" "$room/line"; then echo "ok the_line_says_what_it_swallowed"; else echo "not ok the_line_says_what_it_swallowed: exit $rc: $(cat "$room/line")"; fi
