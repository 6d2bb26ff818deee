#!/usr/bin/env python3
"""A model of Sieve dense and pruned, in Sieve and, as ONNX, in onnxruntime: milliseconds a picture at batch 1 and 32. All forms take turns in this
one process, so that whatever else the machine does falls on all of them alike; what counts is the ratios.

    make infer programs
    bench/peer/onnx_time.py runs/deit_t/model.safetensors                  a model of your own, on noise
    bench/peer/onnx_time.py MODEL --photos DIR --rounds 40 --threads 2     on photos: a dynamic model keeps by the picture

Needs numpy and onnxruntime (pip install -r tests/interop/requirements.txt). Sieve runs through libsieve-infer.so, fp32, as programs use it; pruned in
both of its forms: by thresholds (each picture its own number; ONNX: one picture at a time) and by rank (every picture the plan's number)."""
import argparse
import ctypes
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

import numpy as np
import onnxruntime


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class LoadOptions(ctypes.Structure):
    _fields_ = [("arch", ctypes.c_char_p), ("classes", ctypes.c_size_t), ("precision", ctypes.c_char_p), ("say", ctypes.c_void_p), ("say_context", ctypes.c_void_p)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("batch", ctypes.c_size_t), ("threads", ctypes.c_size_t)]


class Sieve:
    """A session of libsieve-infer."""
    library = None

    def __init__(self, path, batch, threads):
        if not Sieve.library:
            Sieve.library = ctypes.CDLL(str(ROOT / "build" / "release" / "libsieve-infer.so"))
            Sieve.library.sieve_logits.restype = ctypes.POINTER(ctypes.c_float)
        error, self.model, self.session = Error(), ctypes.c_void_p(), ctypes.c_void_p()
        self.check(Sieve.library.sieve_model_load(ctypes.byref(self.model), os.fsencode(path), ctypes.byref(LoadOptions(precision=b"fp32")), ctypes.byref(error)), error)
        options = SessionOptions(batch, threads)
        self.check(Sieve.library.sieve_session_create(ctypes.byref(self.session), self.model, ctypes.byref(options), ctypes.byref(error)), error)
        self.classes = None

    @staticmethod
    def check(code, error):
        if code:
            raise SystemExit(error.text.decode())

    def __call__(self, pictures):
        error = Error()
        self.check(Sieve.library.sieve_run_floats(self.session, pictures.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(pictures)), ctypes.byref(error)), error)

    def logits(self, pictures, classes):
        self(pictures)
        return np.stack([np.ctypeslib.as_array(Sieve.library.sieve_logits(self.session, ctypes.c_size_t(i)), (classes,)).copy() for i in range(len(pictures))])


class Runtime:
    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")  # its threads would spin on into the next form's turn
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, pictures):
        self.session.run(None, {"pixel_values": pictures})

    def logits(self, pictures, classes):
        return self.session.run(["logits"], {"pixel_values": pictures})[0]


def header_of(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        return header, file.read()


def with_plan(source, target, change):
    """The same model under another plan. `change` of None: without selectors."""
    header, data = header_of(source)
    plan = header["__metadata__"]["sieve.plan"]
    if change is None:
        names = [n for n in header if n.startswith(("selectors.", "score_predictor."))]
        begin = min((header[n]["data_offsets"][0] for n in names), default=len(data))
        kept = {n: v for n, v in header.items() if n == "__metadata__" or n not in names}
        assert all(v["data_offsets"][1] <= begin for n, v in kept.items() if n != "__metadata__"), "selectors do not stand last"
        header, data = kept, data[:begin]
        header["__metadata__"].pop("crc32", None)
        plan = "method none\nstages 0\n" + "".join(l + "\n" for l in plan.splitlines() if l.split()[0] in ("rule", "package", "empty", "min_keep"))
    else:
        plan = plan.replace(*change)
    header["__metadata__"]["sieve.plan"] = plan
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def export(checkpoint, path, *flags):
    subprocess.run([str(ROOT / "bin" / "export"), str(checkpoint), "--format", "onnx", "--out", str(path), "--quiet", *flags], check=True, cwd=ROOT)
    return str(path)


def pictures_of(folder, size, count):
    if not folder:
        return np.random.default_rng(1).standard_normal((count, 3, size, size)).astype(np.float32)
    sys.path.insert(0, str(ROOT / "tests" / "interop"))
    from pictures import pixels  # the transform of the checks
    files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpeg", ".jpg", ".png"))
    return np.stack([pixels(p, size) for p in files[::max(len(files) // count, 1)][:count]])


def forms_of(model, room, batch, threads, stages):
    """(name, what runs, most pictures at a time)"""
    dense, ranked = room / "dense.safetensors", room / "ranked.safetensors"
    with_plan(model, dense, None)
    forms = [("dense, Sieve", Sieve(dense, batch, threads), batch), ("dense, onnxruntime", Runtime(export(dense, room / "dense.onnx"), threads), batch)]
    if stages:
        with_plan(model, ranked, ("rule threshold", "rule topk"))
        forms += [("pruned by rank, Sieve", Sieve(ranked, batch, threads), batch), ("pruned by rank, onnxruntime", Runtime(export(model, room / "static.onnx", "--mode", "static"), threads), batch),
                  ("pruned by thresholds, Sieve", Sieve(model, batch, threads), batch), ("pruned by thresholds, onnxruntime", Runtime(export(model, room / "dynamic.onnx", "--mode", "dynamic"), threads), 1)]
    return forms


REST = 0.03   # seconds between turns: the threads of the one before have gone to sleep
TURN = 0.1    # seconds that a turn is to take at the least; its first runs, which find the other forms' numbers in the caches, are not counted
UNCOUNTED = 2


def time_forms(forms, pictures, batch, rounds):
    """Milliseconds a picture of each form in each round, the median of a turn; pictures go round."""
    times = {name: [] for name, _, _ in forms}
    for number in range(rounds + 1):
        begin = number * batch % len(pictures)
        taken = np.ascontiguousarray(np.take(pictures, range(begin, begin + batch), axis=0, mode="wrap"))
        for name, run, most in forms:
            time.sleep(REST)
            turn, first = [], time.perf_counter()
            while len(turn) <= UNCOUNTED or time.perf_counter() - first < TURN:
                start = time.perf_counter()
                for at in range(0, batch, most):
                    run(taken[at:at + most])
                turn.append(1e3 * (time.perf_counter() - start) / batch)
            if number:  # a round to warm up
                times[name].append(statistics.median(turn[UNCOUNTED:]))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--photos")
    parser.add_argument("--batch", default="1,32")
    parser.add_argument("--rounds", type=int, default=0, help="default: 40 at batch 1, 8 at batch 32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    metadata = header_of(arguments.model)[0]["__metadata__"]
    about = dict(line.split(" ", 1) for line in metadata["sieve.model"].splitlines())
    stages = sum(line.startswith("stage ") for line in metadata.get("sieve.plan", "").splitlines())
    pictures = pictures_of(arguments.photos, int(about["image"]), 64)
    print(f"{about['arch']}, {stages} selectors, {arguments.threads} threads, load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores at the start; onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory(prefix="sieve-onnx-time-") as room:
        for batch in (int(b) for b in arguments.batch.split(",")):
            forms = forms_of(arguments.model, pathlib.Path(room), batch, arguments.threads, stages)
            few, classes = pictures[:min(batch, 4)].copy(), int(about["classes"])
            for (_, ours, _), (name, theirs, most) in zip(forms[::2], forms[1::2]):
                one = ours.logits(few, classes)
                other = np.concatenate([theirs.logits(few[i:i + most], classes) for i in range(0, len(few), most)])
                print(f"  {name}: logits differ by {np.abs(one - other).max() / np.abs(one).max():.1e} of their largest")
            times = time_forms(forms, pictures, batch, arguments.rounds or (40 if batch < 8 else 8))
            print(f"| batch {batch}, ms a picture | Sieve: median (best) | onnxruntime: median (best) | onnxruntime / Sieve, median of rounds |\n| --- | --- | --- | --- |")
            for ours, theirs in zip(forms[::2], forms[1::2]):
                a, b = times[ours[0]], times[theirs[0]]
                ratio = statistics.median(y / x for x, y in zip(a, b))
                print(f"| {ours[0].split(', ')[0]} | {statistics.median(a):.2f} ({min(a):.2f}) | {statistics.median(b):.2f} ({min(b):.2f}) | {ratio:.2f} |", flush=True)
            dense_here, dense_there = times[forms[0][0]], times[forms[1][0]]
            for ours, theirs in zip(forms[2::2], forms[3::2]):
                here = statistics.median(x / y for x, y in zip(dense_here, times[ours[0]]))
                there = statistics.median(x / y for x, y in zip(dense_there, times[theirs[0]]))
                print(f"{ours[0].split(', ')[0]}: {here:.2f} times as fast as dense in Sieve, {there:.2f} times in onnxruntime")
    return 0


if __name__ == "__main__":
    sys.exit(main())
