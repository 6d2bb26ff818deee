#!/usr/bin/env bash
# What several ranks cost on a network that is not there: each rank in a network namespace of its own, wired to a bridge, its line shaped by tc. For each
# line: ms of a step, of the exchange of gradients, of a core for it, of what backward waited for it. Needs root; run it on a quiet machine, whose cores the ranks share.
#   tools/scale-measure.sh [--model deit_t] [--batch 8] [--steps 10] [--ranks "2 4"] [--rates "0 10gbit 1gbit"] [--delays "0 1ms"] [--wire f32]
# rate 0: as fast as the machine copies. A delay needs netem in the kernel and is skipped without.
set -u
cd "$(dirname "$0")/.." || exit 1
model=deit_t batch=8 steps=10 ranks="2 4" rates="0 10gbit 1gbit" delays="0" wire=f32
while [ $# -gt 1 ]; do
    case $1 in
    --model) model=$2 ;; --batch) batch=$2 ;; --steps) steps=$2 ;; --ranks) ranks=$2 ;; --rates) rates=$2 ;; --delays) delays=$2 ;; --wire) wire=$2 ;;
    *) echo "scale-measure: '$1' is not known; see the head of this file" >&2; exit 2 ;;
    esac
    shift 2
done
if [ "$(id -u)" -ne 0 ] || ! ip netns add sv-trial 2> /dev/null; then echo "skip network: namespaces need root (ip netns add)"; exit 0; fi
ip netns del sv-trial
room=$(mktemp -d) || exit 1
export QUICKSTART=$room
unset SIEVE_MASTER SIEVE_RANK SIEVE_RANKS
clear_net() {
    for ((n = 0; n < 16; n++)); do ip netns del "sv$$-$n" 2> /dev/null; done
    ip netns del "sv$$-hub" 2> /dev/null
}
trap 'clear_net; rm -rf "$room"' EXIT
# A hub with one line to each rank. The rate holds for what a rank sends and for what it is sent.
make_net() { # RANKS RATE DELAY
    ip netns add "sv$$-hub" && ip -n "sv$$-hub" link add hub type bridge && ip -n "sv$$-hub" link set hub up || return 1
    for ((n = 0; n < $1; n++)); do
        ip netns add "sv$$-$n" && ip -n "sv$$-hub" link add "line$n" type veth peer name eth0 netns "sv$$-$n" || return 1
        ip -n "sv$$-hub" link set "line$n" master hub up
        ip -n "sv$$-$n" address add "10.77.0.$((n + 1))/24" dev eth0 && ip -n "sv$$-$n" link set eth0 up && ip -n "sv$$-$n" link set lo up || return 1
        local parent=root
        if [ "$2" != 0 ]; then
            ip netns exec "sv$$-$n" tc qdisc add dev eth0 root handle 1: tbf rate "$2" burst 512kb latency 100ms || return 1
            ip netns exec "sv$$-hub" tc qdisc add dev "line$n" root tbf rate "$2" burst 512kb latency 100ms || return 1
            parent="parent 1:1"
        fi
        if [ "$3" != 0 ] && ! ip netns exec "sv$$-$n" tc qdisc add dev eth0 $parent netem delay "$3" 2> /dev/null; then echo "skip delay $3: this kernel has no netem"; return 2; fi
    done
}
bin/shapes "$room/pictures" --train $((batch * (steps + 1))) --val 20 --size 224 --seed 1 --quiet || exit 1
recipe="--config configs/quickstart_dense.ini --quiet --model.arch=$model --data.image_size=224 --train.batch=$batch --train.epochs=1 --train.warmup_epochs=0 --train.max_steps=$steps
        --train.wire=$wire --run.tensorboard=no --run.threads=1 --latency.budget="
figures() { # WHAT LOG
    sed -n 's/.*on their way for \([0-9.]*\) s of \([0-9.]*\) s of steps (\([0-9.]*\) s of a core); backward waited \([0-9.]*\) s.*/\1 \2 \4 \3/p' "$2" | tail -n 1 |
        awk -v what="$1" -v steps="$steps" '{ printf "%s %7.0f %9.0f %5.0f %7.0f %6.0f %%\n", what, 1000 * $2 / steps, 1000 * $1 / steps, 1000 * $4 / steps, 1000 * $3 / steps, 100 * (1 - $3 / $1) }'
}
printf '%-8s %5s %5s %5s %7s %6s %7s %9s %5s %7s %8s\n' model ranks lanes batch rate delay step_ms exchange core waited hidden
for count in $ranks; do
    for rate in $rates; do
        for delay in $delays; do
            clear_net
            make_net "$count" "$rate" "$delay" || continue
            pids=()
            for ((n = 0; n < count; n++)); do
                SIEVE_MASTER=10.77.0.1:7070 SIEVE_RANK=$n SIEVE_RANKS=$count ip netns exec "sv$$-$n" bin/train $recipe --train.lanes="$count" --run.dir="$room/run" --resume never > "$room/said$n" 2>&1 < /dev/null &
                pids+=($!)
            done
            for pid in "${pids[@]}"; do wait "$pid"; rc=$?; done
            [ $rc = 75 ] || { echo "ranks ended with $rc: $(cat "$room/said0")"; continue; }
            figures "$(printf '%-8s %5d %5d %5d %7s %6s' "$model" "$count" "$count" "$batch" "$rate" "$delay")" "$room/run/log.txt"
        done
    done
done
