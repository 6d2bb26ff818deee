#!/usr/bin/env python3
"""A ViT or DeiT of Sieve, dense or pruned, in plain PyTorch: loads checkpoints and exports (safetensors; float32, float16, bfloat16, int8) and
answers as Sieve does. Nothing of Sieve is needed; copy this file into your project. docs/how-to-pytorch.md is its page.

    model = load("runs/deit_t/model.safetensors")
    logits, kept = model(picture)            # picture: [3, side, side], RGB / 255, minus mean, by deviation

    python3 examples/pytorch_model.py MODEL PICTURE...      the five likeliest classes of pictures

One picture at a time: each keeps its own number of patches."""
import json
import struct
import sys

import torch
import torch.nn.functional as F

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I8": torch.int8}


def read_safetensors(path):
    """Tensors as float32, and the metadata. int8 weights stand beside their scales, NAME_scale: one for each output."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    metadata, raw = header.pop("__metadata__", {}), {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        kind = KINDS[about["dtype"]]
        values = torch.frombuffer(data, dtype=kind, offset=begin, count=(end - begin) // kind.itemsize) if end > begin else torch.empty(0, dtype=kind)
        raw[name] = values.reshape(about["shape"])
    tensors = {}
    for name, values in raw.items():
        if values.dtype == torch.int8:
            scale = raw[name + "_scale"]
            tensors[name] = values.float() * scale.reshape([-1] + [1] * (values.dim() - 1))
        elif not (name.endswith("_scale") and raw.get(name[: -len("_scale")], values).dtype == torch.int8):
            tensors[name] = values.float()
    return tensors, metadata


def read_plan(text):
    """The lines of "sieve.plan": where selectors stand and how they decide."""
    plan = {"stages": []}
    for words in (line.split() for line in (text or "").splitlines()):
        if words[0] == "stage":
            plan["stages"].append({"at": int(words[1]), "count": int(words[3]), "threshold": float(words[4])})
        elif words[0] != "stages":
            plan[words[0]] = words[1]
    return plan


class Model:
    def __init__(self, tensors, metadata):
        lines = dict(line.split(" ", 1) for line in metadata["sieve.model"].splitlines())
        if lines["arch"].split("_")[0] not in ("deit", "vit"):
            raise ValueError(f"{lines['arch']}: this file knows ViT and DeiT alone")
        self.t, self.plan = tensors, read_plan(metadata.get("sieve.plan"))
        self.classes = metadata.get("sieve.classes", "").splitlines()
        self.image, self.patch, self.depth, self.heads = (int(lines[k]) for k in ("image", "patch", "depth", "heads"))
        self.eps, self.prefix = float(lines["norm_eps"]), 1 + int(lines["distilled"])

    def to(self, target):
        """Another device or dtype: float64 for comparing, "cuda" for speed."""
        self.t = {name: value.to(target) for name, value in self.t.items()}
        return self

    def linear(self, x, name):
        return F.linear(x, self.t[name + ".weight"], self.t.get(name + ".bias"))

    def norm(self, x, name, eps):
        return F.layer_norm(x, x.shape[-1:], self.t[name + ".weight"], self.t[name + ".bias"], eps)

    def embed(self, picture):
        x = F.conv2d(picture[None], self.t["patch_embed.proj.weight"], self.t["patch_embed.proj.bias"], stride=self.patch)
        tokens = [self.t["cls_token"][0]] + ([self.t["dist_token"][0]] if self.prefix == 2 else [])
        return torch.cat(tokens + [x[0].flatten(1).T]) + self.t["pos_embed"][0]

    def block(self, x, name):
        rows, width = x.shape
        q, k, v = self.linear(self.norm(x, name + ".norm1", self.eps), name + ".attn.qkv").reshape(rows, 3, self.heads, -1).permute(1, 2, 0, 3)
        share = (q @ k.transpose(1, 2) * (width // self.heads) ** -0.5).softmax(-1)
        x = x + self.linear((share @ v).transpose(0, 1).reshape(rows, width), name + ".attn.proj")
        return x + self.linear(F.gelu(self.linear(self.norm(x, name + ".norm2", self.eps), name + ".mlp.fc1")), name + ".mlp.fc2")

    # ---- selectors: for each row the logit of keeping it, and its weight in the package ------------------------------

    def score_spvit(self, u, name):
        slices = u.reshape(len(u), self.heads, -1)
        v = F.gelu(self.linear(self.norm(slices, name + ".norm", 1e-5), name + ".fc_in"))
        local, whole = v.chunk(2, -1)
        z = F.gelu(self.linear(torch.cat([local, whole.mean(0, keepdim=True).expand_as(local)], -1), name + ".fc1"))
        keep, drop = self.linear(F.gelu(self.linear(z, name + ".fc2")), name + ".fc_out").unbind(-1)
        importance = torch.sigmoid(self.linear(F.gelu(self.linear(slices.mean(-1), name + ".head_fc1")), name + ".head_fc2"))
        total = importance.sum(-1)
        return (importance * (keep - drop)).sum(-1) / total, (importance * torch.sigmoid(keep - drop)).sum(-1) / total

    def score_dynamicvit(self, u, name):
        v = F.gelu(self.linear(self.norm(u, name + ".in_conv.0", 1e-5), name + ".in_conv.1"))
        local, whole = v.chunk(2, -1)
        z = F.gelu(self.linear(torch.cat([local, whole.mean(0, keepdim=True).expand_as(local)], -1), name + ".out_conv.0"))
        keep, drop = self.linear(F.gelu(self.linear(z, name + ".out_conv.2")), name + ".out_conv.4").unbind(-1)
        return keep - drop, torch.sigmoid(keep - drop)

    def decide(self, a, stage):
        """Which patches stay: booleans. Of equal scores the first ranks higher."""
        best = torch.sort(a, descending=True, stable=True).indices
        keep = torch.zeros_like(a, dtype=torch.bool)
        if self.plan["rule"] == "topk":
            keep[best[: max(stage["count"], int(self.plan["min_keep"]))]] = True
            return keep
        keep = torch.sigmoid(a) >= (0.5 if self.plan["rule"] == "argmax" else stage["threshold"])
        keep[best[: int(self.plan["min_keep"])]] = True
        return keep

    def package(self, patches, drop, score):
        """What the dropped patches leave behind: a row, or none."""
        form = self.plan["package"]
        if form == "none" or (not drop.any() and self.plan["empty"] == "mask"):
            return patches[:0]
        weight = drop.to(patches.dtype) * (1 if form == "mean" else score)
        total = weight @ patches
        return (total if form == "sum" else total / weight.sum().clamp(min=1e-6))[None]

    def select(self, x, origin, index, stage):
        """Rows: prefix, patches in order, packages oldest first. origin: the numbers of these patches in the picture."""
        u, n = x[self.prefix :], len(origin)
        spvit = self.plan["method"] == "spvit"
        a, score = self.score_spvit(u, f"selectors.{index}") if spvit else self.score_dynamicvit(u, f"score_predictor.{index}")
        keep = self.decide(a[:n], stage)
        return torch.cat([x[: self.prefix], u[:n][keep], u[n:], self.package(u[:n], ~keep, score[:n])]), origin[keep]

    # ---- the whole ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def __call__(self, picture):
        """Logits [classes], and for each selector the numbers of the patches that stay."""
        x, kept = self.embed(picture), []
        origin = torch.arange(len(x) - self.prefix, device=x.device)
        stages = iter(enumerate(self.plan["stages"]))
        waiting = next(stages, None)
        for i in range(self.depth):
            if waiting and waiting[1]["at"] == i:
                x, origin = self.select(x, origin, *waiting)
                kept.append(origin.tolist())
                waiting = next(stages, None)
            x = self.block(x, f"blocks.{i}")
        x = self.norm(x[: self.prefix], "norm", self.eps)
        logits = self.linear(x[0], "head")
        return (logits if self.prefix == 1 else (logits + self.linear(x[1], "head_dist")) / 2), kept


def load(path):
    return Model(*read_safetensors(path))


def read_picture(path, side):
    """As Sieve and timm evaluate by default: the shorter side to side / 0.875, bicubic, the centre, ImageNet's mean and deviation."""
    import numpy
    from PIL import Image

    picture, target = Image.open(path).convert("RGB"), int(side / 0.875)
    width, height = picture.size
    other = int(target * max(width, height) / min(width, height))
    picture = picture.resize((target, other) if width < height else (other, target), Image.BICUBIC)
    left, top = round((picture.width - side) / 2), round((picture.height - side) / 2)
    numbers = torch.from_numpy(numpy.array(picture.crop((left, top, left + side, top + side)))).permute(2, 0, 1).float() / 255
    return (numbers - torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    model = load(sys.argv[1])
    for path in sys.argv[2:]:
        logits, kept = model(read_picture(path, model.image))
        shares, best = logits.softmax(0).topk(min(5, len(logits)))
        named = [model.classes[i] if i < len(model.classes) else str(i) for i in best.tolist()]
        print(f"{path}: " + ", ".join(f"{name} {share:.1%}" for name, share in zip(named, shares.tolist())) + f"; patches kept: {[len(k) for k in kept]}")
