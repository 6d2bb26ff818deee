#!/usr/bin/env python3
"""The recipe of configs/imagenette_recipe.ini as a PyTorch user writes it, with Pillow: accuracy to hold Sieve's against. Not part of the checks.

    recipe.py --data DATA --seed 1 [--precision bf16] [--pruned] [--epochs 6]

DATA holds weights/deit_tiny_patch16_224.pth and imagenette/{train,val}/CLASS/PICTURE. Prints a line an epoch and a JSON object at the end.
Needs torch, numpy, pillow; the model is bench/peer/vit.py.
"""
import argparse
import contextlib
import copy
import io
import json
import math
import pathlib
import random
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "peer"))
from vit import KEEP, DeiT  # noqa: E402

MEAN, STD, FILL = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32), (124, 116, 104)


# ---- pictures ------------------------------------------------------------------------------------------------------
def affine(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix, resample=Image.BICUBIC, fillcolor=FILL)


def rand_augment(image, draw, count=2, level=9, spread=0.5):
    """rand-m9-mstd0.5-inc1 of timm."""
    for _ in range(count):
        op = draw.randrange(15)
        if draw.random() > 0.5:
            continue
        m = min(10, max(0, draw.gauss(level, spread))) / 10
        s = -1 if draw.random() > 0.5 else 1
        factor = 1 + s * m * 0.9
        image = [
            lambda: ImageOps.autocontrast(image), lambda: ImageOps.equalize(image), lambda: ImageOps.invert(image),
            lambda: image.rotate(s * m * 30, resample=Image.BICUBIC, fillcolor=FILL),
            lambda: ImageOps.posterize(image, max(1, 4 - int(m * 4))), lambda: ImageOps.solarize(image, 256 - int(m * 256)),
            lambda: image.point([min(255, i + int(m * 110)) if i < 128 else i for i in range(256)] * 3),
            lambda: ImageEnhance.Color(image).enhance(factor), lambda: ImageEnhance.Contrast(image).enhance(factor),
            lambda: ImageEnhance.Brightness(image).enhance(factor), lambda: ImageEnhance.Sharpness(image).enhance(factor),
            lambda: affine(image, 1, s * m * 0.3, 0, 0, 1, 0), lambda: affine(image, 1, 0, 0, s * m * 0.3, 1, 0),
            lambda: affine(image, 1, 0, s * m * 0.45 * image.size[0], 0, 1, 0), lambda: affine(image, 1, 0, 0, 0, 1, s * m * 0.45 * image.size[1]),
        ][op]()
    return image


def numbers(image):
    return ((np.asarray(image, np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def training_picture(image, draw):
    width, height = image.size
    for _ in range(10):
        area, ratio = draw.uniform(0.08, 1) * width * height, math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = draw.randint(0, width - w), draw.randint(0, height - h)
            break
    else:
        w, h = min(width, height), min(width, height)
        left, top = (width - w) // 2, (height - h) // 2
    image = image.crop((left, top, left + w, top + h)).resize((224, 224), Image.BICUBIC)
    if draw.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    out = numbers(rand_augment(image, draw)).copy()
    if draw.random() <= 0.25:
        for _ in range(10):
            area, ratio = draw.uniform(0.02, 1 / 3) * 224 * 224, math.exp(draw.uniform(math.log(0.3), -math.log(0.3)))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < 224 and w < 224:
                top, left = draw.randint(0, 224 - h), draw.randint(0, 224 - w)
                out[:, top:top + h, left:left + w] = np.random.default_rng(draw.getrandbits(32)).standard_normal((3, h, w))
                break
    return out


def validation_picture(image):
    width, height = image.size
    size = (256, int(256 * height / width)) if width < height else (int(256 * width / height), 256)
    image = image.resize(size, Image.BICUBIC)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return numbers(image.crop((left, top, left + 224, top + 224)))


def read_all(folder):
    images, labels = [], []
    for label, name in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
        for path in sorted(name.iterdir()):
            images.append(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))
            labels.append(label)
    return images, torch.tensor(labels)


def mix(x, labels, draw, classes, smoothing=0.1):
    """Mixup 0.8 or cutmix 1, each half of the time, with the batch in reverse."""
    off = smoothing / classes
    hot = torch.full((len(labels), classes), off).scatter_(1, labels[:, None], 1 - smoothing + off)
    if draw.random() < 0.5:
        share = draw.random()
        root = math.sqrt(1 - share)
        ch, cw, cy, cx = int(224 * root), int(224 * root), draw.randrange(224), draw.randrange(224)
        yl, yh, xl, xh = max(cy - ch // 2, 0), min(cy + ch // 2, 224), max(cx - cw // 2, 0), min(cx + cw // 2, 224)
        x = x.clone()
        x[:, :, yl:yh, xl:xh] = x.flip(0)[:, :, yl:yh, xl:xh]
        share = 1 - (yh - yl) * (xh - xl) / (224 * 224)
    else:
        share = draw.betavariate(0.8, 0.8)
        x = share * x + (1 - share) * x.flip(0)
    return x, share * hot + (1 - share) * hot.flip(0)


# ---- the run -------------------------------------------------------------------------------------------------------
def load(model, path):
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    turned = {"patch_embed.proj.": "patches.", "pos_embed": "positions", ".attn.": ".", ".mlp.": "."}
    for old, new in turned.items():
        state = {name.replace(old, new): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not name.startswith("head.")}
    missing = model.load_state_dict(state, strict=False)
    assert all(name.startswith(("head.", "selectors.")) for name in missing.missing_keys) and not missing.unexpected_keys, missing


def groups(model, lr, scale, decay):
    parts = {}
    for name, parameter in model.named_parameters():
        new = name.startswith(("head.", "selectors.")) if scale == 0.1 else name.startswith("selectors.")
        if name in ("cls_token", "positions"):
            continue
        parts.setdefault((new, parameter.dim() >= 2), []).append(parameter)
    return [{"params": p, "lr": lr * (1 if new else scale), "scale": 1 if new else scale, "weight_decay": decay if wide else 0.0}
            for (new, wide), p in parts.items()]


def spvit_loss(model, teacher):
    def loss(x, targets):
        with torch.no_grad():
            taught, tokens_taught = teacher(x)
        logits, tokens, masks = model.masked(x)
        logits = logits.float()
        shares = torch.stack([mask.float().mean(1) for mask in masks], 1)
        ratio = ((shares.mean(0) - torch.tensor(KEEP)) ** 2).sum()
        distill = F.kl_div(logits.log_softmax(1), taught.float().log_softmax(1), reduction="batchmean", log_target=True)
        apart = ((tokens.float() - tokens_taught.float()).square().mean(2) * masks[-1]).sum() / masks[-1].sum().clamp(min=1)
        return F.cross_entropy(logits, targets) + 2 * ratio + 0.5 * distill + 0.5 * apart
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pruned", action="store_true", help="then four epochs with selectors, the dense model as teacher")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(args.seed)
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if args.precision == "bf16" else contextlib.nullcontext
    images, labels = read_all(args.data / "imagenette/train")
    val, val_labels = read_all(args.data / "imagenette/val")
    val = torch.from_numpy(np.stack([validation_picture(image) for image in val]))

    def right(forward):
        with torch.no_grad(), autocast():
            return sum(int((forward(val[i:i + 50])[0].argmax(1) == val_labels[i:i + 50]).sum()) for i in range(0, len(val), 50))

    def fit(model, loss, forward, epochs, lr, scale, frozen, min_lr, warm, name):
        optimizer = torch.optim.AdamW(groups(model, lr, scale, 0.05), lr=lr)
        steps, batch, best, kept = len(images) // 256 * 256 // 64, 64, -1, None
        for epoch in range(epochs):
            begin, draw = time.time(), random.Random(1000 * args.seed + epoch)
            order = [i for i in draw.sample(range(len(images)), len(images)) for _ in range(3)]  # repeated augmentation
            total = 0.0
            for step in range(steps):
                at = epoch + step / steps
                rate = lr * at / warm if at < warm else min_lr + 0.5 * (lr - min_lr) * (1 + math.cos(math.pi * (at - warm) / (epochs - warm)))
                for group in optimizer.param_groups:
                    group["lr"] = 0.0 if epoch < frozen and group["scale"] != 1 else rate * group["scale"]
                rows = [order[step * batch + j * 8 + r] for r in range(8) for j in range(batch // 8)]
                x = torch.from_numpy(np.stack([training_picture(images[i], draw) for i in rows]))
                x, targets = mix(x, labels[rows], draw, 10)
                optimizer.zero_grad(set_to_none=True)
                with autocast():
                    value = loss(x, targets)
                value.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                total += float(value.detach())
            count = right(forward)
            if count >= best:
                best, kept = count, copy.deepcopy(model.state_dict())
            print(f"{name} epoch {epoch + 1} of {epochs}: loss {total / steps:.4f}, top-1 {count} of {len(val)}, {time.time() - begin:.0f} s", flush=True)
        model.load_state_dict(kept)
        return best

    dense = DeiT("deit_t", classes=10)
    load(dense, args.data / "weights/deit_tiny_patch16_224.pth")
    torch.nn.init.trunc_normal_(dense.head.weight, std=0.02)
    torch.nn.init.zeros_(dense.head.bias)
    result = {"seed": args.seed, "precision": args.precision}
    result["dense"] = fit(dense, lambda x, t: F.cross_entropy(dense(x)[0].float(), t), dense, args.epochs, 1e-3, 0.1, 0, 1e-5, 1, "dense")
    if args.pruned:
        student = DeiT("deit_t", selectors=True, classes=10)
        student.load_state_dict(dense.state_dict(), strict=False)
        result["pruned"] = fit(student, spvit_loss(student, dense.eval()), student.pruned, 4, 5e-3, 0.02, 1, 1e-5, 1, "pruned")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
