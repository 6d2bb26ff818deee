#!/usr/bin/env python3
"""examples/pytorch_model.py against bin/classify: logits to 1e-4 of their largest and patches exactly, of models trained here (SPViT by thresholds and
by rank, DynamicViT, distilled, dense), each as checkpoint and as export in float32, float16, bfloat16 and int8.

    python3 tests/interop/pytorch.py [--checkpoint FILE --photos FOLDER]

With --checkpoint: that model alone, on 16 pictures of the folder. Ends with 77 (skipped) where torch or Pillow is absent."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != HERE]  # a file here has the name of a package
sys.path.insert(0, os.path.join(ROOT, "examples"))
try:
    import numpy as np
    import pytorch_model
    from PIL import Image  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)

failures = 0


def program(name, *arguments):
    done = subprocess.run([os.path.join(ROOT, "bin", name), *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"bin/{name} {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def hold(name, path, pictures):
    global failures
    rows = program("classify", path, *pictures, "--json", "--details", "--precision", "fp32")
    model = pytorch_model.load(path)
    worst, same = 0.0, 0
    for row, picture in zip(rows, pictures):
        logits, kept = model(pytorch_model.read_picture(picture, model.image))
        theirs = np.array(row["logits"])
        worst = max(worst, float(np.abs(logits.numpy() - theirs).max() / np.abs(theirs).max()))
        same += kept == row["patches_kept"]
    good = worst <= 1e-4 and same == len(pictures)
    failures += not good
    print(("ok " if good else "not ok ") + f"pytorch_{name}: logits differ by {worst:.2g} at most; {same} of {len(pictures)} pictures keep the same patches", flush=True)


def hold_trained(room):
    os.environ["QUICKSTART"] = room
    small = ["--quiet", "--train.epochs=1", "--train.batch=20", "--train.warmup_epochs=0", "--latency.runs=3", "--latency.warm_up=1"]
    pruned = ["train", "--config", "configs/quickstart.ini", *small, "--latency.budget=", "--pruning.keep=0.6,0.4", "--train.calibrate=40"]
    at = lambda name: os.path.join(room, name)
    program("shapes", at("pictures"), "--train", "100", "--val", "20", "--size", "64", "--seed", "1", "--quiet")
    program("train", "--config", "configs/quickstart_dense.ini", *small)
    program(*pruned, "--pruning.at=2,4")
    program(*pruned, "--pruning.rule=topk", "--run.dir=" + at("ranked"))
    program(*pruned, "--pruning.method=dynamicvit", "--run.dir=" + at("dynamicvit"))
    program(*pruned, "--model.distilled=yes", "--model.weights=", "--pruning.distill_weight=0", "--pruning.token_weight=0", "--run.dir=" + at("distilled"))
    pictures = sorted(os.path.join(where, name) for where, _, names in os.walk(at("pictures/val")) for name in names)[::3]
    for name in ("dense", "pruned", "ranked", "dynamicvit", "distilled"):
        checkpoint = at(name + "/model.safetensors")
        hold(name, checkpoint, pictures)
        for kind in ("f32", "f16", "bf16", "int8") if name == "pruned" else ("int8",):
            program("export", checkpoint, "--format", "safetensors", "--weights", kind, "--out", at("out.safetensors"), "--quiet")
            hold(f"{name}_exported_{kind}", at("out.safetensors"), pictures)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint")
    parser.add_argument("--photos")
    arguments = parser.parse_args()
    if arguments.checkpoint:
        files = sorted(os.path.join(where, name) for where, _, names in os.walk(arguments.photos) for name in names)
        hold("given", arguments.checkpoint, files[:: max(len(files) // 16, 1)][:16])
    else:
        with tempfile.TemporaryDirectory(prefix="sieve-torch-") as room:
            hold_trained(room)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
