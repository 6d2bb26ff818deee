#!/usr/bin/env bash
# Every allocation, open, read, write, sync, rename, thread start, socket send and receive of a program is a numbered point (base/fault.h). This counts
# the points of a scenario, then lets an even spread of them fail, one a run, and looks at what comes of it: the exit code is a documented one, a
# failure is one sentence, the checkpoint that is there is whole, and the same command then ends with the bytes of an undisturbed run.
# A line a scenario and kind; the last column says how the runs ended. FAULTS: points a scenario and kind (default 25); "all" for every one.
# SIEVE_BIN: the programs' folder (bin); under build/asan/bin leaks count as failures too. SCENARIOS: some of them ("train resume").
set -u
cd "$(dirname "$0")/.." || exit 1
faults=${FAULTS:-25} bin=${SIEVE_BIN:-bin}
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART=$room ASAN_OPTIONS=detect_leaks=1:exitcode=99:allocator_may_return_null=1 OMP_NUM_THREADS=1
unset SIEVE_FAULT SIEVE_FAULT_COUNT
all_good=yes
bin/shapes "$room/pictures" --train 12 --val 10 --size 32 --seed 1 --quiet || exit 1
bin/shards --from "$room/pictures/train" --to "$room/shards" --size-mb 1 --seed 3 --quiet || exit 1
recipe="--config configs/quickstart_dense.ini --quiet --train.epochs=2 --train.batch=6 --train.save_every=1 --train.warmup_epochs=0 --train.ema=0.9 --train.calibrate=6
        --data.image_size=32 --latency.runs=3 --latency.warm_up=0 --run.pictures=2 --run.threads=1"
pruned="--pruning.method=spvit --pruning.at=2 --pruning.keep=0.5 --model.weights=$room/calm/train/model.safetensors"

# What a scenario runs into DIR, what is laid out before, what must be the same in the end.
command_of() { # SCENARIO DIR
    case $1 in
    train) echo "train $recipe --run.dir=$2" ;;
    shards) echo "train $recipe --data.train=$room/shards --data.shuffle_buffer=5 --run.dir=$2" ;;
    resume) echo "train $recipe --run.dir=$2" ;;
    weights) echo "train $recipe $pruned --run.dir=$2" ;;
    ranks0 | ranks1) echo "train $recipe --ranks 2 --run.rank_timeout=5 --run.dir=$2" ;;
    safetensors) echo "export $room/calm/weights/model.safetensors --format safetensors --out $2/out --quiet" ;;
    onnx) echo "export $room/calm/weights/model.safetensors --format onnx --out $2/out --quiet" ;;
    inspect) echo "eval --inspect $room/calm/weights/last.safetensors" ;;
    esac
}
lay_out() { # SCENARIO DIR
    rm -rf "$2"
    mkdir -p "$2"
    [ "$1" = resume ] && cp -r "$room/half/." "$2/"
    return 0
}
files_of() { case $1 in train | shards | resume | weights | ranks0 | ranks1) echo last.safetensors model.safetensors best.safetensors ;; safetensors | onnx) echo out ;; esac; }
kinds_of() {
    case $1 in
    ranks0) echo alloc thread send receive ;;
    ranks1) echo alloc open read thread send receive ;;
    inspect) echo alloc open read ;;
    safetensors | onnx) echo alloc open read write sync rename space ;;
    weights) echo alloc open read ;;
    shards) echo alloc open read thread ;;
    *) echo alloc open read write write+ write! sync sync! rename rename! thread space ;;
    esac
}
points() { # TOTAL: the numbers to try
    if [ "$faults" = all ] || [ "$1" -le "$faults" ]; then seq 1 "$1"
    else awk -v n="$1" -v k="$faults" 'BEGIN { for (i = 0; i < k; i++) printf "%d\n", 1 + int((i + 0.5) * n / k) }'; fi
}
same() { # ONE OTHER: an onnx file's card holds a measured time; its weights, at the end, are compared
    if [ "$scenario" = onnx ]; then cmp -s <(tail -c 1000000 "$1") <(tail -c 1000000 "$2"); else cmp -s "$1" "$2"; fi
}
complain() { printf '%s\n' "not ok $1: $2" "$(head -c 2000 "$room/said")"; trouble=yes all_good=no; }
judge() { # NAME SCENARIO DIR CODE PROGRAM
    local name=$1 scenario=$2 dir=$3 code=$4 program=$5 file
    case $code in
    0 | 1 | 2 | 3 | 4 | 75) ;; # 2: the config could not be read
    137) [[ $name == *!* ]] || complain "$name" "was killed" ;;
    *) complain "$name" "exit $code" ;;
    esac
    if [ "$code" != 0 ] && [ "$code" != 137 ] && [ "$(grep -c "^$program: ." "$room/said")" != 1 ]; then complain "$name" "exit $code without one sentence"; fi
    if [ -e "$dir/last.safetensors" ] && ! bin/eval --inspect "$dir/last.safetensors" > /dev/null 2>&1; then complain "$name" "the checkpoint is not whole"; fi
    if [ "$program" = export ] && [ "$code" != 0 ] && [ -e "$dir/out" ] && ! same "$dir/out" "$room/calm/$scenario/out"; then complain "$name" "exit $code, and another file than in peace"; fi
    if [ "$code" != 0 ] && [ "$scenario" != inspect ]; then # the same command goes on
        $bin/$(command_of "$scenario" "$dir") > "$room/said" 2>&1 < /dev/null || { complain "$name" "going on: exit $?"; return; }
    fi
    for file in $(files_of "$scenario"); do same "$dir/$file" "$room/calm/$scenario/$file" || complain "$name" "$file has other bytes than in peace"; done
}
printf '# %-12s %-8s %7s %6s  %s\n' scenario fails points tried "ended with (exit code x runs)"
mkdir -p "$room/calm" "$room/half"
for scenario in ${SCENARIOS:-train shards resume weights safetensors onnx inspect ranks0 ranks1}; do
    trouble=""
    for needs in train weights; do # calm runs that others start from
        [ -e "$room/calm/$needs/model.safetensors" ] && continue
        lay_out $needs "$room/calm/$needs"
        $bin/$(command_of $needs "$room/calm/$needs") > "$room/said" 2>&1 < /dev/null || { complain "$needs" "exit $? in peace"; exit 1; }
    done
    if [ ! -e "$room/half/last.safetensors" ]; then
        $bin/train $recipe --run.dir="$room/half" --train.max_steps=3 > "$room/said" 2>&1 < /dev/null
        [ $? = 75 ] || { complain half "was not interrupted"; exit 1; }
    fi
    lay_out "$scenario" "$room/calm/$scenario"
    SIEVE_FAULT_COUNT=$room/counts $bin/$(command_of "$scenario" "$room/calm/$scenario") > "$room/said" 2>&1 < /dev/null || { complain "$scenario" "exit $? in peace"; exit 1; }
    for kind in $(kinds_of "$scenario"); do
        plain=${kind%[+!]} form=${kind#"${kind%[+!]}"}
        total=$(awk -v k="$plain" '$1 == k { print $2 }' "$room/counts")
        rank="" tried=0 trouble=""
        case $scenario in ranks0) rank=",rank:0" ;; ranks1) rank=",rank:1" ;; esac
        : > "$room/codes"
        for at in $(points "$total"); do
            lay_out "$scenario" "$room/run"
            program=$(command_of "$scenario" "$room/run")
            { SIEVE_FAULT=$plain:$at$form$rank timeout -k 5 60 $bin/$program > "$room/said" 2>&1 < /dev/null; } 2> /dev/null
            code=$?
            echo $code >> "$room/codes"
            judge "$scenario $plain:$at$form" "$scenario" "$room/run" $code "${program%% *}"
            tried=$((tried + 1))
        done
        [ -n "$trouble" ] && continue
        printf 'ok %-12s %-8s %7d %6d  %s\n' "$scenario" "$kind" "$total" "$tried" "$(sort -n "$room/codes" | uniq -c | awk '{ printf "%s%s x%s", s, $2, $1; s = ", " }')"
    done
done
[ -n "$all_good" ] && [ "$all_good" = yes ]
