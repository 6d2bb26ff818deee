#!/usr/bin/env bash
# What others read of ours: TensorBoard the event files, onnxruntime and PyTorch (examples/pytorch_model.py) checkpoints and exports. Not part of `make check`: it needs Python packages, which it sets
# up in build/interop (INTEROP_PYTHON=FILE: takes that Python as it is). DATA=FOLDER: real weights and photos
# too, PHOTOS=N of them (16; 64 before a release). The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
python=${INTEROP_PYTHON:-}
if [ -z "$python" ]; then
    python=build/interop/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv build/interop || exit 1
        "$python" -m pip install --quiet --extra-index-url https://download.pytorch.org/whl/cpu -r tests/interop/requirements.txt || exit 1
    fi
fi
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"
bin/shapes "$room/pictures" --train 400 --val 100 --size 64 --seed 1 --quiet || exit 1
small="--quiet --train.epochs=3 --train.batch=20 --latency.runs=5 --latency.warm_up=1 --train.calibrate=80"
bin/train --config configs/quickstart_dense.ini $small > /dev/null || exit 1
passed=0 failed=0
judge() { # NAME CODE OUTPUT
    if [ "$2" = 0 ]; then passed=$((passed + 1)); echo "ok $1"; else failed=$((failed + 1)); echo "not ok $1: exit $2"; echo "$3" | tail -5 | sed 's/^/    /'; fi
}
out=$("$python" tests/interop/tensorboard.py "$room/dense/tensorboard" 2>&1); rc=$?
judge "tensorboard reads a run" $rc "$out"
if grep -q 'val/top1 ' <<< "$out"; then judge "its curves are there" 0 ""; else judge "its curves are there" 1 "$out"; fi
checks() { # SCRIPT OPTIONS...: a script that prints "ok NAME" or "not ok NAME" a line
    local out rc
    out=$("$python" "$@" 2>&1); rc=$?
    passed=$((passed + $(grep -c '^ok ' <<< "$out"))) failed=$((failed + $(grep -c '^not ok ' <<< "$out")))
    grep -E '^(ok|not ok|skip) ' <<< "$out"
    if [ $rc = 77 ]; then echo "skip $1: $out"; elif [ $rc != 0 ] && ! grep -q '^not ok ' <<< "$out"; then judge "$1 ran" $rc "$out"; fi
}
checks tests/interop/onnx.py ${DATA:+--data "$DATA"} ${PHOTOS:+--photos "$PHOTOS"}
checks tests/interop/pytorch.py
echo "$passed passed, $failed failed"
[ $failed = 0 ]
