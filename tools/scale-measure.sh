#!/usr/bin/env bash
# What several ranks cost on a network that is not there: each rank in a network namespace of its own. Without delay the namespaces are wired to a
# bridge, lines shaped by tc (tbf); with delay tc's netem is added where the kernel has it, else lines are those of tools/delay_line.c, which takes
# some of the cores' time itself. For each line: what a packet's round trip and one TCP stream really take on it (tools/line_probe.c); then ms of a
# step, of the exchange of gradients, of a core for it, of what backward waited for it. Needs root; run it on a quiet machine, whose cores the ranks share.
#   tools/scale-measure.sh [--model deit_t] [--batch 8] [--size 224] [--steps 10] [--ranks "2 4"] [--rates "0 10gbit 1gbit"] [--delays "0 1ms"] [--wire f32] [--tcp reno]
# rate 0: as fast as the machine copies. Delays are from one rank to another; a round trip takes two. With --steps 0 the lines alone are measured.
# --tcp: whose windows (net.ipv4.tcp_congestion_control); without it the machine's.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/networks.sh
model=deit_t batch=8 size=224 steps=10 ranks="2 4" rates="0 10gbit 1gbit" delays="0" wire=f32 tcp=""
while [ $# -gt 1 ]; do
    case $1 in
    --model) model=$2 ;; --batch) batch=$2 ;; --size) size=$2 ;; --steps) steps=$2 ;; --ranks) ranks=$2 ;; --rates) rates=$2 ;; --delays) delays=$2 ;; --wire) wire=$2 ;; --tcp) tcp=$2 ;;
    *) echo "scale-measure: '$1' is not known; see the head of this file" >&2; exit 2 ;;
    esac
    shift 2
done
make --no-print-directory programs delay-line > /dev/null || exit 1
if [ "$(id -u)" -ne 0 ] || ! ip netns add "sv$$-0" 2> /dev/null; then echo "skip network: namespaces need root (ip netns add)"; exit 0; fi
room=$(mktemp -d) || exit 1
export QUICKSTART=$room
unset SIEVE_MASTER SIEVE_RANK SIEVE_RANKS
trap 'net_clear; rm -rf "$room"' EXIT
netem=no
ip netns exec "sv$$-0" tc qdisc add dev lo root netem delay 1ms 2> /dev/null && netem=yes
# The rate holds for what a rank sends and for what it is sent.
shape() { # RANKS RATE DELAY
    for ((n = 0; n < $1; n++)); do
        local parent=root
        if [ "$2" != 0 ]; then
            ip netns exec "sv$$-$n" tc qdisc add dev eth0 root handle 1: tbf rate "$2" burst 512kb latency 100ms || return 1
            ip netns exec "sv$$-hub" tc qdisc add dev "line$n" root tbf rate "$2" burst 512kb latency 100ms || return 1
            parent="parent 1:1"
        fi
        [ "$3" = 0 ] || ip netns exec "sv$$-$n" tc qdisc add dev eth0 $parent netem delay "$3" limit 100000 || return 1
    done
}
make_net() { # RANKS RATE DELAY
    if [ "$3" = 0 ] || [ $netem = yes ]; then net_bridge "$1" && shape "$@"
    else net_delayed "$room/line" "$1" --rate "$2" --delay "$3" || { cat "$room/line"; return 1; }; fi || return 1
    for ((n = 0; n < $1; n++)); do [ -z "$tcp" ] || ip netns exec "sv$$-$n" sysctl -qw "net.ipv4.tcp_congestion_control=$tcp" || return 1; done
}
# "MS GBIT": a packet's round trip from rank 0 to rank 1, one stream of 256 MB.
probe() {
    build/release/tools/line_probe "sv$$-0" "sv$$-1" 10.77.0.2 --megabytes 256 --json 2> "$room/probe" | sed 's/.*"round_trip_ms": \([0-9.]*\),.*"gbit": \([0-9.]*\).*/\1 \2/' | grep . || echo "? ?"
}
[ "$steps" = 0 ] || bin/shapes "$room/pictures" --train $((batch * (steps + 1))) --val 20 --size "$size" --seed 1 --quiet || exit 1
recipe="--config configs/quickstart_dense.ini --quiet --model.arch=$model --data.image_size=$size --train.batch=$batch --train.epochs=1 --train.warmup_epochs=0 --train.max_steps=$steps
        --train.wire=$wire --run.tensorboard=no --run.threads=1 --latency.budget="
figures() { # WHAT LOG
    sed -n 's/.*on their way for \([0-9.]*\) s of \([0-9.]*\) s of steps (\([0-9.]*\) s of a core); backward waited \([0-9.]*\) s.*/\1 \2 \4 \3/p' "$2" | tail -n 1 |
        awk -v what="$1" -v steps="$steps" '{ printf "%s %8.1f %9.1f %6.1f %8.1f %6.0f %%\n", what, 1000 * $2 / steps, 1000 * $1 / steps, 1000 * $4 / steps, 1000 * $3 / steps, 100 * (1 - $3 / $1) }'
}
# What the delay line said of itself, where there was one: `line` is its process, which has ended.
told() { [ -n "$line" ] && awk '/ dropped /{ gsub(",", ""); for (i = 1; i < NF; i++) if ($i == "dropped") n += $(i + 1) } / late /{ said = $0 } END { print "# delay line: " n + 0 " dropped, " said }' "$room/line"; }
echo "# $(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg); TCP: ${tcp:-$(cat /proc/sys/net/ipv4/tcp_congestion_control)}"
printf '%-8s %5s %5s %5s %7s %6s %7s %6s %8s %9s %6s %8s %8s\n' model ranks lanes batch rate delay trip_ms Gbit/s step_ms exchange core waited hidden
for count in $ranks; do
    for rate in $rates; do
        for delay in $delays; do
            net_clear
            make_net "$count" "$rate" "$delay" || continue
            read -r trip gbit < <(probe)
            start="$(printf '%-8s %5d %5d %5d %7s %6s %7s %6s' "$model" "$count" "$count" "$batch" "$rate" "$delay" "$trip" "$gbit")"
            if [ "$steps" = 0 ]; then
                echo "$start"
                line=${net_line:-}
                net_clear
                told
                continue
            fi
            pids=()
            for ((n = 0; n < count; n++)); do
                SIEVE_MASTER=10.77.0.1:7070 SIEVE_RANK=$n SIEVE_RANKS=$count ip netns exec "sv$$-$n" bin/train $recipe --train.lanes="$count" --run.dir="$room/run" --resume never > "$room/said$n" 2>&1 < /dev/null &
                pids+=($!)
            done
            for pid in "${pids[@]}"; do wait "$pid"; rc=$?; done
            line=${net_line:-}
            net_clear
            [ $rc = 75 ] || { echo "ranks ended with $rc: $(cat "$room/said0")"; continue; }
            figures "$start" "$room/run/log.txt"
            told
        done
    done
done
