#!/usr/bin/env python3
"""Writes data/paths.txt: steps and deployed forms of DynamicViT's two paths (Rao et al. 2023) on a small ConvNeXt and a small Swin in float64 PyTorch,
by spec DynamicViT 7 with one stream. Made with torch 2.13.0, numpy 2.

    python3 tests/golden/make_paths.py

Used by tests/golden/paths.c. Backbones and hashed numbers are those of data/make_backbones.py; predictors, fast paths and losses are written here.
Noise as in make_dynamicvit.py: picture 0 keeps everything at predictor 0, picture 1 nothing at the last, picture 2 nothing at predictor 0.
"""
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
sys.path.insert(0, FOLDER)
import make_backbones as backbones  # noqa: E402
from make_spvit_small import both, middle_of_gap, unit  # noqa: E402

IMAGES, CLASSES, PATCHES = backbones.IMAGES, backbones.CLASSES, 16
KEEP, DROP = 0, 1


class Predictor(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(width, eps), nn.Linear(width, width), nn.GELU())
        self.out_conv = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, width // 4), nn.GELU(), nn.Linear(width // 4, 2))

    def forward(self, rows):
        u = self.in_conv(rows)
        local, mean = u.chunk(2, -1)[0], u.chunk(2, -1)[1].mean(1, keepdim=True)
        return F.log_softmax(self.out_conv(torch.cat([local, mean.expand_as(local)], -1)), -1)


class Next(backbones.ConvNext):
    """stages[1] has two ways."""

    def __init__(self, at):
        super().__init__((8, 16, 24), (1, 2, 1))
        self.score_predictor = nn.ModuleList(Predictor(16, 1e-6) for _ in at)
        self.at = at
        for block in self.stages[1]["blocks"]:
            block.fast_path = nn.Sequential(nn.LayerNorm(16, 1e-6), nn.Linear(16, 16))
            block.fast_path_gamma = nn.Parameter(torch.ones(16))

    def features(self, x):
        return self.head["norm"](x.permute(0, 2, 3, 1).flatten(1, 2))

    def run(self, x, choose):
        x, index, mask = self.stem(x), 0, None
        for s, stage in enumerate(self.stages):
            if "downsample" in stage:
                x = stage["downsample"](x)
            for block in stage["blocks"]:
                if index in self.at:
                    mask = choose(self.at.index(index), self.score_predictor[self.at.index(index)](x.flatten(2).transpose(1, 2)))
                if s == 1 and mask is not None:
                    y = block.conv_dw(x).permute(0, 2, 3, 1).flatten(1, 2)
                    slow = block.gamma * block.mlp["fc2"](F.gelu(block.mlp["fc1"](block.norm(y))))
                    fast = block.fast_path_gamma * block.fast_path(y)
                    x = x + (mask * slow + (1 - mask) * fast).transpose(1, 2).view_as(x)
                else:
                    x = block(x)
                index += 1
        return self.head["fc"](self.head["norm"](x.mean((2, 3)))), self.features(x)


class Swin(backbones.Swin):
    """layers[1] has two ways."""

    def __init__(self, at):
        super().__init__(32, 8, (2, 2, 1), (1, 2, 4), 2, 2)
        self.score_predictor = nn.ModuleList(Predictor(16, 1e-5) for _ in at)
        self.at = at
        for block in self.layers[1]["blocks"]:
            block.fastmlp = nn.ModuleDict({"fc1": nn.Sequential(nn.LayerNorm(16, 1e-5), nn.Linear(16, 16))})

    def run(self, x, choose):
        x, index, mask = self.patch_embed["norm"](self.patch_embed["proj"](x).flatten(2).transpose(1, 2)), 0, None
        for s, stage in enumerate(self.layers):
            if "downsample" in stage:
                x = stage["downsample"](x)
            for block in stage["blocks"]:
                if index in self.at:
                    mask = choose(self.at.index(index), self.score_predictor[self.at.index(index)](x))
                if s == 1 and mask is not None:
                    x = x + block.attention(block.norm1(x))
                    x = x + mask * block.feed(block.norm2(x)) + (1 - mask) * block.fastmlp["fc1"](x)
                else:
                    x = block(x)
                index += 1
        x = self.norm(x)
        return self.head["fc"](x.mean(1)), x


# side of the pictures, student, teacher, keep ratios
CASES = {
    "convnext": (lambda: Next((1, 2)), lambda: backbones.ConvNext((8, 16, 24), (1, 2, 1)), (0.7, 0.5)),
    "swin": (lambda: Swin((2, 3)), lambda: backbones.Swin(32, 8, (2, 2, 1), (1, 2, 4), 2, 2), (0.6, 0.4)),
}
SIDE = 32


def is_selector(name):
    return name.startswith("score_predictor.") or ".fast_path" in name or ".fastmlp." in name


def fill(model, salt):
    """As fill_weights of test_hashed.h."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            v, shape = both(salt + name, p.numel()), p.shape
            if len(shape) == 1 and name.endswith(".weight") and ("norm" in name or is_selector(name)):
                v = 1 + 0.2 * v
            else:
                v = v * (0.1 if len(shape) == 1 else (3 / np.prod(shape[1:])) ** 0.5 * (2 if is_selector(name) else 1))
            p.copy_(torch.from_numpy(v.reshape(shape)))
    return model


def gumbels(stages):
    """Two draws a patch whose difference is the logistic noise of the C side."""
    out = []
    for t in range(stages):
        u = np.stack([unit(f"noise{t}{b}", PATCHES) for b in range(IMAGES)]) * (1 - 2e-6) + 1e-6
        noise = np.log(u / (1 - u))
        for b in range(IMAGES):
            noise[b] = -50 if t + 1 == stages and b == 1 else 50 if t == 0 and b == 0 else -50 if t == 0 and b == 2 else noise[b]
        other = -np.log(-np.log(np.stack([unit(f"gumbel{t}{b}", PATCHES) for b in range(IMAGES)]) * (1 - 2e-6) + 1e-6))
        out.append(torch.from_numpy(np.stack([noise + other, other], -1)))
    return out


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    pictures = torch.from_numpy(np.stack([both(f"picture{b}", 3 * SIDE * SIDE).reshape(3, SIDE, SIDE) for b in range(IMAGES)]))
    target = torch.full((IMAGES, CLASSES), 0.1 / CLASSES)
    target[range(IMAGES), [b % CLASSES for b in range(IMAGES)]] += 0.9
    for name, (student, teacher, ratios) in CASES.items():
        model, dense, log, shares = fill(student(), ""), fill(teacher(), "teacher/"), {}, []
        noise = gumbels(len(ratios))

        def sampled(t, log_p):
            y = torch.softmax(log_p + noise[t], -1)
            hard = torch.zeros_like(y).scatter_(-1, y.argmax(-1, keepdim=True), 1.0)
            assert (y[..., KEEP] - 0.5).abs().min() > 1e-4, "a decision that rounding could turn"
            keep = (hard - y.detach() + y)[..., KEEP : KEEP + 1]
            log[f"a{t}"], log[f"score{t}"], log[f"keep{t}"] = log_p[..., KEEP] - log_p[..., DROP], log_p[..., KEEP].exp(), keep
            shares.append(keep.mean((1, 2)))
            return keep

        with torch.no_grad():
            hidden = []
            last = dense.stages[-1]["blocks"][-1] if name == "convnext" else dense.norm
            hook = last.register_forward_hook(lambda module, inputs, out: hidden.append(out))
            t_logits = dense(pictures)
            hook.remove()
            t_tokens = dense.head["norm"](hidden[0].permute(0, 2, 3, 1).flatten(1, 2)) if name == "convnext" else hidden[0]
        logits, tokens = model.run(pictures, sampled)
        terms = {
            "cls": -(target * F.log_softmax(logits, -1)).sum(-1).mean(),
            "kl": F.kl_div(F.log_softmax(logits, -1), F.log_softmax(t_logits, -1), log_target=True, reduction="batchmean"),
            "token": F.mse_loss(tokens, t_tokens),
        }
        ratio = sum((share - goal).square().mean() for share, goal in zip(shares, ratios))
        total = terms["cls"] + 2 * ratio / len(ratios) + 0.5 * terms["kl"] + 0.5 * terms["token"]
        total.backward()
        for key, value in {**log, "logits": logits, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, p in model.named_parameters():
            g = p.grad.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * both("along/" + key, len(g))).sum()])
        thresholds = [middle_of_gap(log[f"score{t}"]) for t in range(len(ratios))]
        put(f"{name}/thresholds", thresholds)

        def by_count(t, log_p):
            score = log_p[..., KEEP].exp()
            order = score.argsort(-1, descending=True)
            count = int(PATCHES * ratios[t])
            best = score.gather(1, order)
            assert (best[:, count - 1] - best[:, count]).min() > 1e-5, "scores too close"
            return torch.zeros_like(score).scatter_(1, order[:, :count], 1.0)[..., None]

        def by_threshold(t, log_p):
            score = log_p[..., KEEP].exp()
            assert (score - thresholds[t]).abs().min() > 1e-5, "a score too close to its threshold"
            keep = (score >= thresholds[t]).double()
            for b in range(IMAGES):
                if not keep[b].sum():
                    keep[b, score[b].argmax()] = 1
            return keep[..., None]

        with torch.no_grad():
            for rule_name, rule in (("topk", by_count), ("threshold", by_threshold)):
                kept = []

                def noted(t, log_p):
                    mask = rule(t, log_p)
                    kept.append(mask.sum((1, 2)).numpy())
                    return mask

                put(f"{name}/{rule_name}_logits", model.run(pictures, noted)[0])
                put(f"{name}/{rule_name}_kept", np.stack(kept))
        print(name, "shares", [[f"{v:.2f}" for v in s.tolist()] for s in shares], {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}")
    with open(os.path.join(FOLDER, "paths.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
