#!/usr/bin/env bash
# The whole road in minutes: build, built-in pictures, a small ViT trained dense, SPViT to 60 % of its latency on this machine, verified, exported, reported.
# Called by `make quickstart`; the folder is runs/quickstart, or the first argument.
set -eu
cd "$(dirname "$0")/.."
tools/install-deps.sh
make -j"$(nproc)" --no-print-directory
export QUICKSTART="${1:-runs/quickstart}"
mkdir -p "$QUICKSTART"
echo "== pictures"
[ -f "$QUICKSTART/pictures/classes.txt" ] || bin/shapes "$QUICKSTART/pictures" --train 4000 --val 1000 --size 64 --seed 1
echo "== a small ViT from scratch"
bin/train --config configs/quickstart_dense.ini
echo "== token selectors, to 60 % of its latency on this machine"
code=0
bin/train --config configs/quickstart.ini || code=$?
[ $code = 0 ] || [ $code = 6 ] || exit $code
echo "== dense beside pruned"
bin/eval --config configs/quickstart.ini --checkpoint "$QUICKSTART/pruned/model.safetensors" --latency
if [ -x bin/export ]; then
    echo "== export"
    bin/export "$QUICKSTART/pruned/model.safetensors" --format safetensors --out "$QUICKSTART/vit_nano_pruned.safetensors"
    bin/export "$QUICKSTART/pruned/model.safetensors" --format onnx --out "$QUICKSTART/vit_nano_pruned.onnx"
fi
echo
echo "The report is $QUICKSTART/pruned/report.html"
exit $code
