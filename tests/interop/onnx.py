#!/usr/bin/env python3
"""Exports models to ONNX and holds what onnxruntime answers against what bin/classify answers: logits to 1e-4 of their largest, patches kept
exactly, on pictures that Pillow decodes and resizes here. onnx.checker runs over each file with full shape inference.

    python3 tests/interop/onnx.py [--data FOLDER] [--photos N] [--only WORD] [--case WORD] [--large NAMES] [--large-pruned CONFIGS] [--checkpoint FILE]

Models: a small PiT, Swin, ConvNeXt and LV-ViT, dense and pruned; a small ViT trained here in seconds, its plan in all forms (package wavg, sum, mean, none; empty packages masked and kept; everything
kept; one patch kept), dense, distilled; and, where FOLDER/weights/deit_tiny_patch16_224.pth is, DeiT-T with selectors drawn from a seed on N photos
of FOLDER/imagenet-sample. f16, bf16 and int8 files are held against the f32 file's answers, and the difference is said, not judged.
Ends with 77 (skipped) where onnx or onnxruntime is not installed, with 1 where something differs. Built programs stand in bin/.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != HERE]  # this file has the package's name
TOLERANCE = 1e-4

try:
    import numpy as np
    import onnx
    import onnxruntime
    sys.path.append(HERE)
    from pictures import pixels
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)

failures = 0


def verdict(name, good, words):
    global failures
    failures += not good
    print(("ok " if good else "not ok ") + name + ": " + words, flush=True)


def program(name, *arguments):
    done = subprocess.run([os.path.join(ROOT, "bin", name), *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"bin/{name} {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# ---- checkpoints: a safetensors file is a length, a JSON header, data -----------------------------------------------

def read_checkpoint(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        return header, file.read()


def write_checkpoint(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def plan_of(stages, rule="threshold", package="wavg", empty="mask", least=1, method="spvit"):
    """stages: (block, keep, count, threshold) each."""
    lines = [f"method {method if stages else 'none'}", f"stages {len(stages)}", f"rule {rule}", f"package {package}", f"empty {empty}", f"min_keep {least}"]
    return "\n".join(lines + [f"stage {at} {keep:.17g} {count} {threshold:.17g}" for at, keep, count, threshold in stages]) + "\n"


def with_plan(source, target, plan):
    header, data = read_checkpoint(source)
    header["__metadata__"]["sieve.plan"] = plan
    write_checkpoint(target, header, data)


def wake(checkpoint, seed, size=1.5):
    """Selectors whose answers differ from patch to patch by more than rounding: those of a run of ten steps hardly do. Size 0: all alike."""
    header, data = read_checkpoint(checkpoint)
    data, random = bytearray(data), np.random.default_rng(seed)
    header["__metadata__"].pop("crc32", None)
    for name in sorted(n for n in header if n.startswith(("selectors.", "score_predictor.")) and len(header[n]["shape"]) == 2):
        begin, end = header[name]["data_offsets"]
        rows, columns = header[name]["shape"]
        data[begin:end] = (random.standard_normal((rows, columns)) * size / columns ** 0.5).astype("<f4").tobytes()
    write_checkpoint(checkpoint, header, bytes(data))


def stages_of(source):
    lines = read_checkpoint(source)[0]["__metadata__"]["sieve.plan"].splitlines()
    return [(int(w[1]), float(w[2]), int(w[3]), float(w[4])) for w in (line.split() for line in lines) if w[0] == "stage"]


# ---- answers --------------------------------------------------------------------------------------------------------

def sieve(checkpoint, pictures):
    rows = program("classify", checkpoint, *pictures, "--json", "--details", "--precision", "fp32")
    return np.array([r["logits"] for r in rows], np.float32), [[sorted(k) for k in r["patches_kept"]] for r in rows]  # merged ones stand in another order


def session_of(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def runtime(path, numbers, batch):
    """Logits [pictures, classes] and, for each picture, the list of patches of each selector."""
    session, logits, kept = session_of(path), [], []
    for begin in range(0, len(numbers), batch):
        out = session.run(None, {"pixel_values": np.stack(numbers[begin:begin + batch])})
        logits.append(out[0])
        kept += [[(list(o[i]) if o.ndim == 2 else list(o)) for o in out[1:]] for i in range(len(out[0]))]
    return np.concatenate(logits), kept


def difference(one, other):
    return float((np.abs(one - other).max(axis=1) / np.abs(other).max(axis=1)).max())


def export(checkpoint, path, *arguments):
    report = program("export", checkpoint, "--format", "onnx", "--out", path, "--json", *arguments)[0]
    onnx.checker.check_model(path, full_check=True)
    return report


def hold(name, checkpoint, room, pictures, numbers, mode, batch, arguments=()):
    """Exports, runs, compares; returns the answers of the f32 file."""
    path = os.path.join(room, "held.onnx")
    header = read_checkpoint(checkpoint)[0]["__metadata__"]
    ours_from = os.path.join(room, "ours.safetensors")
    with_plan(checkpoint, ours_from, header["sieve.plan"].replace("rule threshold", "rule topk") if mode == "static" else header["sieve.plan"])
    report = export(checkpoint, path, "--mode", mode, *arguments)
    logits, kept = runtime(path, numbers, batch)
    ours, ours_kept = sieve(ours_from, pictures)
    off, same = difference(logits, ours), sum(a == b for a, b in zip(kept, ours_kept))
    counts = [sorted({len(k[t]) for k in kept}) for t in range(len(kept[0]))]
    verdict(f"{name}_{mode}", off <= TOLERANCE and same == len(kept),
            f"logits differ by {off:.2g} at most; {same} of {len(kept)} pictures keep the same patches {counts}; own proof {report['logits_difference']:.2g}")
    return logits, kept


def hold_halves(name, checkpoint, room, numbers, mode, batch, logits, kept):
    for weights in ("f16", "bf16", "int8"):
        path = os.path.join(room, "half.onnx")
        export(checkpoint, path, "--mode", mode, "--weights", weights)
        other, other_kept = runtime(path, numbers, batch)
        shared = [len(set(a[t]) & set(b[t])) / max(len(set(a[t]) | set(b[t])), 1) for a, b in zip(kept, other_kept) for t in range(len(a))]
        top = int((logits.argmax(1) == other.argmax(1)).sum())
        words = f"logits differ by {difference(other, logits):.2g}, {top} of {len(logits)} first answers are the same"
        verdict(f"{name}_{mode}_{weights}", bool(np.isfinite(other).all()), words + (f", {100 * np.mean(shared):.1f} % of the patches" if shared else ""))


# ---- the models -----------------------------------------------------------------------------------------------------

def small_models(room):
    os.environ["QUICKSTART"] = room
    small = ["--quiet", "--train.epochs=1", "--train.batch=20", "--train.warmup_epochs=0", "--latency.runs=3", "--latency.warm_up=1"]
    program("shapes", os.path.join(room, "pictures"), "--train", "200", "--val", "60", "--size", "64", "--seed", "1", "--quiet")
    program("train", "--config", "configs/quickstart_dense.ini", *small)
    program("train", "--config", "configs/quickstart.ini", *small, "--latency.budget=", "--pruning.keep=0.6,0.4", "--train.calibrate=40")
    program("train", "--config", "configs/quickstart.ini", *small, "--latency.budget=", "--pruning.keep=0.6,0.4", "--train.calibrate=40", "--model.distilled=yes",
            "--model.weights=", "--pruning.distill_weight=0", "--pruning.token_weight=0", "--run.dir=" + os.path.join(room, "distilled"))


def photos_of(data, photos):
    """Files of real photos, evenly spread; none where the folder is absent."""
    folder = os.path.join(data, "imagenet-sample", "val")
    files = sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    return files[::max(len(files) // photos, 1)][:photos]


def hold_small_on_photos(room, pruned, pictures):
    if not pictures:
        return
    checkpoint, numbers = os.path.join(room, "photos.safetensors"), [pixels(p, 64) for p in pictures]
    with_plan(pruned, checkpoint, read_checkpoint(pruned)[0]["__metadata__"]["sieve.plan"])
    calibrate(checkpoint, room, numbers)
    for mode, batch in (("static", 8), ("dynamic", 1)):
        hold("nano_on_photos", checkpoint, room, pictures, numbers, mode, batch)


def hold_small(room, data, photos):
    small_models(room)
    folder = os.path.join(room, "pictures", "val")
    pictures = sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)[::4]
    numbers = [pixels(p, 64) for p in pictures]
    pruned, other = os.path.join(room, "pruned", "model.safetensors"), os.path.join(room, "form.safetensors")
    distilled = os.path.join(room, "distilled", "model.safetensors")
    for checkpoint in (pruned, distilled):
        wake(checkpoint, 3)
        calibrate(checkpoint, room, numbers)
    hold_small_on_photos(room, pruned, photos_of(data, photos))
    hold("nano_dense", os.path.join(room, "dense", "model.safetensors"), room, pictures, numbers, "static", 5)
    for mode, batch in (("static", 5), ("dynamic", 1)):
        hold_halves("nano", pruned, room, numbers, mode, batch, *hold("nano", pruned, room, pictures, numbers, mode, batch))
        hold("nano_distilled", distilled, room, pictures, numbers, mode, batch)
        hold("nano_beside_its_data", pruned, room, pictures, numbers, mode, batch, ["--external-above", "100000"])
        stages = stages_of(pruned)
        forms = {form: plan_of(stages, package=form) for form in ("sum", "mean", "none")}
        forms["keep_zero"] = plan_of(stages, empty="keep_zero")
        everything = [(at, 1.0, 64, 0.0) for at, _, _, _ in stages]
        forms["everything_kept"] = plan_of(everything)
        forms["everything_kept_and_zeros"] = plan_of(everything, empty="keep_zero")
        forms["nothing_kept_but_one"] = plan_of([(at, 0.01, 1, 1.0) for at, _, _, _ in stages], empty="mask")
        forms["at_least_nine"] = plan_of([(at, 0.01, 1, 0.999) for at, _, _, _ in stages], least=9)
        forms["first_block"] = plan_of([(0, *stages[0][1:]), (5, *stages[1][1:])])
        for form, plan in forms.items():
            with_plan(pruned, other, plan)
            hold(f"nano_{form}", other, room, pictures[:6], numbers[:6], mode, min(batch, 3))
        with_plan(pruned, other, plan_of([(1, 0.6, 38, 0.9), (3, 0.4, 25, 0.9)], least=9))
        wake(other, 0, 0)
        _, kept = hold("nano_ties", other, room, pictures[:3], numbers[:3], mode, min(batch, 3))
        count = 38 if mode == "static" else 9
        verdict(f"nano_ties_{mode}_keep_the_first", all(k[0] == list(range(count)) for k in kept), f"patches 0 to {count - 1}")
    hold("nano_fixed_batch", pruned, room, pictures[:15], numbers[:15], "static", 5, ["--batch", "5"])


# Nano rows have all that the large ones have: shifted windows, merging, pooling, grouped convolutions, batch norm, factors a channel.
FAMILIES = ("pit_nano", "swin_nano", "convnext_nano", "lvvit_nano")


def shake(checkpoint, seed):
    """Factors, gains and biases away from where a run of one epoch has them (ConvNeXt's factors begin at 1e-6): all parts show in the logits."""
    header, data = read_checkpoint(checkpoint)
    data, random = bytearray(data), np.random.default_rng(seed)
    header["__metadata__"].pop("crc32", None)
    for name in sorted(n for n in header if n != "__metadata__" and len(header[n]["shape"]) == 1):
        begin, end = header[name]["data_offsets"]
        values = np.frombuffer(bytes(data[begin:end]), "<f4")
        data[begin:end] = (values + 0.1 + 0.2 * random.random(values.shape)).astype("<f4").tobytes()
    write_checkpoint(checkpoint, header, bytes(data))


def shapes_of(room, size, photos):
    """A folder of built-in pictures, some of them, and their numbers."""
    folder = os.path.join(room, f"pictures_{size}")
    if not os.path.isdir(folder):
        program("shapes", folder, "--train", "40", "--val", "20", "--size", str(size), "--seed", "1", "--quiet")
    pictures = sorted(os.path.join(where, name) for where, _, names in os.walk(os.path.join(folder, "val")) for name in names)[:photos]
    return folder, pictures, [pixels(p, size) for p in pictures]


def trained_on(room, folder, size, name, config, *arguments):
    """A checkpoint of one epoch, shaken."""
    checkpoint = os.path.join(room, name, "model.safetensors")
    program("train", "--config", config, "--quiet", "--train.epochs=1", "--train.batch=10", "--train.warmup_epochs=0", "--data.train=" + os.path.join(folder, "train"),
            "--data.val=" + os.path.join(folder, "val"), f"--data.image_size={size}", "--run.dir=" + os.path.dirname(checkpoint), *arguments)
    shake(checkpoint, 5)
    return checkpoint


# Name, config, what is changed in it, modes.
PRUNED = (
    ("lvvit_spvit", "quickstart_lvvit_spvit", (), ("static", "dynamic")),
    ("lvvit_dynamicvit", "quickstart_lvvit_dynamicvit", (), ("static",)),
    ("pit_spvit", "quickstart_pit", (), ("static",)),
    ("pit_spvit_sum", "quickstart_pit", ("--pruning.package_form=sum", "--pruning.at=1,2,3", "--pruning.keep=0.7,0.6,0.5"), ("static",)),
    ("swin_spvit", "quickstart_swin", (), ("static",)),
    ("random", "quickstart", ("--pruning.method=random",), ("static",)),
    ("attention", "quickstart", ("--pruning.method=attention",), ("static",)),
    ("evit", "quickstart", ("--pruning.method=evit",), ("static",)),
    ("tome", "quickstart", ("--pruning.method=tome", "--pruning.keep=0.4"), ("static",)),
    ("tome_distilled", "quickstart", ("--pruning.method=tome", "--pruning.keep=0.4", "--model.distilled=yes"), ("static",)),
    ("convnext_paths", "quickstart_dense", ("--model.arch=convnext_nano", "--pruning.method=dynamicvit", "--pruning.at=2,3", "--pruning.keep=0.6,0.4"), ("static",)),
    ("swin_paths", "quickstart_swin", ("--pruning.method=dynamicvit", "--pruning.at=1,2", "--pruning.keep=0.6,0.4"), ("static",)),
    ("swin_spvit_no_package", "quickstart_swin", ("--pruning.package_form=none",), ("static",)),
)


def hold_pruned(room, size, photos, rows):
    """What is pruned beside ViT with selectors: other backbones, other methods."""
    os.environ["QUICKSTART"] = room
    folder, pictures, numbers = shapes_of(room, size, photos)
    small = ("--model.weights=", "--latency.budget=", "--latency.runs=3", "--latency.warm_up=1", "--train.calibrate=20", "--pruning.distill_weight=0", "--pruning.token_weight=0")
    for name, config, changes, modes in rows:
        checkpoint = trained_on(room, folder, size, name, f"configs/{config}.ini", *small, *changes)
        wake(checkpoint, 3)
        plan = read_checkpoint(checkpoint)[0]["__metadata__"]["sieve.plan"]
        lines = [line.split() for line in plan.splitlines()]
        with_plan(checkpoint, checkpoint, "\n".join(" ".join([*w[:4], "0.5"] if w[0] == "stage" else w) for w in lines) + "\n")
        for mode in modes:
            hold(name, checkpoint, room, pictures, numbers, mode, 4 if mode == "static" else 1)


def hold_families(room, families, size, photos):
    os.environ["QUICKSTART"] = room
    folder, pictures, numbers = shapes_of(room, size, photos)
    for family in families:
        checkpoint = trained_on(room, folder, size, family, "configs/quickstart_dense.ini", "--model.arch=" + family)
        logits, kept = hold(family, checkpoint, room, pictures, numbers, "static", 4)
        hold_halves(family, checkpoint, room, numbers, "static", 4, logits, kept)


def deit_with_selectors(weights, path, seed):
    """DeiT-T with selectors drawn from a seed before blocks 3, 6, 9."""
    import torch
    state = torch.load(weights, weights_only=True)["model"]
    arrays = {name: value.float().numpy() for name, value in state.items()}
    for t in range(3):
        for name, rows, columns in (("fc_in", 64, 64), ("fc1", 32, 64), ("fc2", 16, 32), ("fc_out", 2, 16), ("head_fc1", 1, 3), ("head_fc2", 3, 1)):
            arrays[f"selectors.{t}.{name}.weight"] = np.zeros((rows, columns), "f")
            arrays[f"selectors.{t}.{name}.bias"] = np.zeros(rows, "f")
        arrays[f"selectors.{t}.norm.weight"], arrays[f"selectors.{t}.norm.bias"] = np.ones(64, "f"), np.zeros(64, "f")
    header, data = {}, b""
    for name, value in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    model = "arch deit_t\nimage 224\npatch 16\nwidth 192\ndepth 12\nheads 3\nmlp_ratio 4\nclasses 1000\ndistilled 0\nnorm_eps 9.9999999999999995e-07\n"
    header["__metadata__"] = {"format": "pt", "sieve.model": model, "sieve.plan": plan_of([(3, 0.7, 137, 0.5), (6, 0.49, 96, 0.5), (9, 0.343, 67, 0.5)])}
    write_checkpoint(path, header, data)
    wake(path, seed)


def calibrate(checkpoint, room, numbers):
    """Thresholds at which these pictures keep the plan's shares, stage by stage, read off the graph itself."""
    stages = stages_of(checkpoint)
    for t in range(len(stages)):
        path = os.path.join(room, "scores.onnx")
        export(checkpoint, path, "--mode", "dynamic")
        model = onnx.load(path)
        passing = [n for n in model.graph.node if n.op_type == "GreaterOrEqual"][t].input[0]
        model.graph.output.append(onnx.helper.make_tensor_value_info(passing, onnx.TensorProto.FLOAT, None))
        session = session_of(model)
        values = np.sort(np.concatenate([session.run([passing], {"pixel_values": x[None]})[0].ravel() for x in numbers]))[::-1]
        wanted = int(stages[t][1] * (numbers[0].shape[1] // (16 if numbers[0].shape[1] == 224 else 8)) ** 2 * len(numbers) + 0.5)
        # Exactness is asked for, so the cut stands in the widest gap near the wanted count: wider than what rounding does to a score.
        near = [i for i in range(wanted - 20, wanted + 20) if 0 < i < len(values)]
        at = max(near, key=lambda i: values[i - 1] - values[i], default=0)
        threshold = float(0.5 * (values[at - 1].astype("d") + values[at].astype("d"))) if at else 0.0
        stages[t] = (*stages[t][:3], threshold)
        with_plan(checkpoint, checkpoint, plan_of(stages))


def hold_deit(room, data, photos):
    weights, pictures = os.path.join(data, "weights", "deit_tiny_patch16_224.pth"), photos_of(data, photos)
    if not os.path.isfile(weights) or not pictures:
        print(f"skipped: DeiT-T: {weights} or photos of {data}/imagenet-sample are not there")
        return
    numbers = [pixels(p, 224) for p in pictures]
    checkpoint, dense = os.path.join(room, "deit.safetensors"), os.path.join(room, "deit_dense.safetensors")
    deit_with_selectors(weights, checkpoint, 7)
    calibrate(checkpoint, room, numbers)
    header, _ = read_checkpoint(checkpoint)
    for mode, batch in (("static", 4), ("dynamic", 1)):
        hold_halves("deit_t", checkpoint, room, numbers, mode, batch, *hold("deit_t", checkpoint, room, pictures, numbers, mode, batch))
    deit_with_selectors(weights, dense, 7)
    header, block = read_checkpoint(dense)
    header["__metadata__"]["sieve.plan"] = plan_of([])
    write_checkpoint(dense, {k: v for k, v in header.items() if not k.startswith("selectors.")}, block[:min(v["data_offsets"][0] for k, v in header.items() if k.startswith("selectors."))])
    hold_halves("deit_t_dense", dense, room, numbers, "static", 4, *hold("deit_t_dense", dense, room, pictures, numbers, "static", 4))


def hold_deit_methods(room, data, photos):
    """DeiT-T as it is, pruned by methods that learn nothing."""
    weights, pictures = os.path.join(data, "weights", "deit_tiny_patch16_224.pth"), photos_of(data, photos)
    if not os.path.isfile(weights) or not pictures:
        print(f"skipped: DeiT-T by methods: {weights} or photos of {data}/imagenet-sample are not there")
        return
    numbers, checkpoint = [pixels(p, 224) for p in pictures], os.path.join(room, "deit_methods.safetensors")
    three = [(3, 0.7, 137, 0), (6, 0.49, 96, 0), (9, 0.343, 67, 0)]
    plans = {"random": (three, "none"), "attention": (three, "none"), "evit": (three, "sum"), "tome": ([(0, 0.343, 67, 0)], "none")}
    deit_with_selectors(weights, checkpoint, 7)
    header, block = read_checkpoint(checkpoint)
    header = {k: v for k, v in header.items() if not k.startswith("selectors.")}
    data_end = max(v["data_offsets"][1] for k, v in header.items() if k != "__metadata__")
    header["__metadata__"].pop("crc32", None)
    for method, (stages, package) in plans.items():
        header["__metadata__"]["sieve.plan"] = plan_of(stages, "topk", package, method=method)
        write_checkpoint(checkpoint, header, block[:data_end])
        hold(f"deit_t_{method}", checkpoint, room, pictures, numbers, "static", 4)


def hold_checkpoint(room, data, photos, checkpoint):
    """A trained model of the caller's on real photos."""
    pictures = photos_of(data, photos)
    lines = dict(line.split(" ", 1) for line in read_checkpoint(checkpoint)[0]["__metadata__"]["sieve.model"].splitlines())
    numbers = [pixels(p, int(lines["image"])) for p in pictures]
    for mode, batch in (("static", 4), ("dynamic", 1)):
        hold("given", checkpoint, room, pictures, numbers, mode, batch)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.path.join(os.path.dirname(ROOT), "shared", "data"))
    parser.add_argument("--photos", type=int, default=16, help="real photos for DeiT-T and the small ViT; 64 before a release")
    parser.add_argument("--only", choices=("nano", "deit", "methods", "families", "pruned"))
    parser.add_argument("--case", default="", help="of the pruned models those whose name has this word")
    parser.add_argument("--checkpoint", help="nothing but this model of a run, on N photos")
    parser.add_argument("--large", default="", help="families of full size too, by name: pit_ti,swin_t,convnext_t,lvvit_t; a minute each")
    parser.add_argument("--large-pruned", default="", help="pruned models of full size by their configs: pit_s_spvit,swin_t_spvit,convnext_t_dynamicvit,swin_t_dynamicvit")
    arguments = parser.parse_args()
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory(prefix="sieve-onnx-") as room:
        if arguments.checkpoint:
            hold_checkpoint(room, arguments.data, arguments.photos, arguments.checkpoint)
            return 1 if failures else 0
        if arguments.only in (None, "nano"):
            hold_small(room, arguments.data, arguments.photos)
        if arguments.only in (None, "families"):
            hold_families(room, FAMILIES, 64, 10)
        if arguments.only in (None, "pruned"):
            hold_pruned(room, 64, 10, [row for row in PRUNED if arguments.case in row[0]])
        if arguments.large_pruned:  # drawn weights
            hold_pruned(room, 224, 4, [(config, config, ("--train.epochs=0", "--data.ra_world=1", "--data.repeats=1"), ("static",)) for config in arguments.large_pruned.split(",")])
        if arguments.large:
            hold_families(room, arguments.large.split(","), 224, 4)
        if arguments.only in (None, "deit"):
            hold_deit(room, arguments.data, arguments.photos)
        if arguments.only in (None, "methods"):
            hold_deit_methods(room, arguments.data, arguments.photos)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
