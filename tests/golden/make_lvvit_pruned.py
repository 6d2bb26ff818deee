#!/usr/bin/env python3
"""Writes data/lvvit_small.txt: SPViT and DynamicViT steps and removals of a tiny LV-ViT in float64 PyTorch, by spec/spvit_on_other_backbones.md
2 and spec/dynamicvit.md. Made with torch 2.13.0, numpy 2.

    python3 tests/golden/make_lvvit_pruned.py

Used by tests/golden/lvvit_small.c. Selectors, package tokens and hashed numbers are those of data/make_spvit_small.py, predictors those of
make_dynamicvit.py; the backbone is written here: stem of convolutions with frozen batch norm, blocks with skip scaling and without a bias of qkv,
second head over patches. Losses read the class token's answer; tokens are compared by KL of the second head's answers of kept patches; what is
deployed answers with class head + half the largest of the kept patches.
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
sys.path.insert(0, FOLDER)
import make_spvit_small as small  # noqa: E402
from make_spvit_small import CLASSES, D, DEPTH, HEADS, IMAGES, N0, WIDTH, both, linear, norm, package, selector, unit  # noqa: E402
sys.path.insert(0, os.path.dirname(FOLDER))
from make_dynamicvit import gumbel_keep, make_gumbels, predictor  # noqa: E402

SIDE, STEM, LAM, HIDDEN = 64, 4, 2.0, 3 * WIDTH
# method, selectors before blocks, keep ratios, scope of the ratio, weight of a stage's square
CASES = {"dynamicvit": ("dynamicvit", (1, 3), (0.7, 0.49), "image", 1.0), "spvit": ("spvit", (0, 2, 4), (0.7, 0.5, 0.3), "batch", 2 / 3)}


def shapes(method, stages):
    s = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, N0 + 1, WIDTH), "patch_embed.proj.weight": (WIDTH, STEM, 8, 8), "patch_embed.proj.bias": (WIDTH,)}
    for i, (read, side) in enumerate(((3, 7), (STEM, 3), (STEM, 3)), 1):
        s[f"patch_embed.conv{i}.weight"] = (STEM, read, side, side)
        for word in ("weight", "bias", "running_mean", "running_var"):
            s[f"patch_embed.bn{i}.{word}"] = (STEM,)

    def pair(name, *shape):
        s[name + ".weight"], s[name + ".bias"] = shape, shape[:1]

    for i in range(DEPTH):
        for name, shape in (("norm1", (WIDTH,)), ("attn.qkv", (3 * WIDTH, WIDTH)), ("attn.proj", (WIDTH, WIDTH)), ("norm2", (WIDTH,)), ("mlp.fc1", (HIDDEN, WIDTH)), ("mlp.fc2", (WIDTH, HIDDEN))):
            pair(f"blocks.{i}.{name}", *shape)
        del s[f"blocks.{i}.attn.qkv.bias"]
    for name, shape in (("norm", (WIDTH,)), ("head", (CLASSES, WIDTH)), ("aux_head", (CLASSES, WIDTH))):
        pair(name, *shape)
    for t in range(stages):
        if method == "spvit":
            for name, shape in (("norm", (D,)), ("fc_in", (D, D)), ("fc1", (D // 2, D)), ("fc2", (D // 4, D // 2)), ("fc_out", (2, D // 4)), ("head_fc1", (HEADS // 2, HEADS)), ("head_fc2", (HEADS, HEADS // 2))):
                pair(f"selectors.{t}.{name}", *shape)
        else:
            for name, shape in (("in_conv.0", (WIDTH,)), ("in_conv.1", (WIDTH, WIDTH)), ("out_conv.0", (WIDTH // 2, WIDTH)), ("out_conv.2", (WIDTH // 4, WIDTH // 2)), ("out_conv.4", (2, WIDTH // 4))):
                pair(f"score_predictor.{t}.{name}", *shape)
    return s


def weights(method, stages, salt):
    """As fill_weights of test_hashed.h."""
    out = {}
    for name, shape in shapes(method, stages).items():
        v, selects = both(salt + name, int(np.prod(shape))), "selectors" in name or "predictor" in name
        if "running_var" in name or (len(shape) == 1 and name.endswith(".weight") and ("norm" in name or selects)):
            v = 1 + 0.2 * v
        elif len(shape) == 1:
            v = 0.1 * v
        elif len(shape) == 3:
            v = 0.5 * v
        else:
            v = v * (3 / np.prod(shape[1:])) ** 0.5 * (2 if selects else 1)
        out[name] = torch.from_numpy(v.reshape(shape)).requires_grad_("running" not in name)
    return out


def embed(p, pictures):
    x = pictures
    for i, (stride, padding) in enumerate(((2, 3), (1, 1), (1, 1)), 1):
        bn = f"patch_embed.bn{i}."
        x = F.conv2d(x, p[f"patch_embed.conv{i}.weight"], None, stride, padding)
        x = F.relu(F.batch_norm(x, p[bn + "running_mean"], p[bn + "running_var"], p[bn + "weight"], p[bn + "bias"], False, 0.1, 1e-5))
    x = F.conv2d(x, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], 8).flatten(2).mT
    return torch.cat([p["cls_token"].expand(len(x), -1, -1), x], 1) + p["pos_embed"]


def block(p, i, x, policy):
    b, rows, _ = x.shape
    q, k, v = F.linear(norm(p, f"blocks.{i}.norm1", x, 1e-5), p[f"blocks.{i}.attn.qkv.weight"]).view(b, rows, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    a, own = q @ k.mT / D**0.5, torch.eye(rows)
    seen = own + policy[:, None, None, :] * (1 - own)
    top = torch.where(seen.detach() > 0, a, -torch.inf).max(-1, keepdim=True).values.detach()
    e = (a - top).clamp_max(30).exp() * seen
    x = x + linear(p, f"blocks.{i}.attn.proj", (e @ v / e.sum(-1, keepdim=True)).transpose(1, 2).reshape(b, rows, WIDTH)) / LAM
    return x + linear(p, f"blocks.{i}.mlp.fc2", F.gelu(linear(p, f"blocks.{i}.mlp.fc1", norm(p, f"blocks.{i}.norm2", x, 1e-5)))) / LAM


def heads(p, x):
    """Of all rows: the class token's answer, those of the rows behind it."""
    x = norm(p, "norm", x, 1e-5)
    return linear(p, "head", x[:, 0]), linear(p, "aux_head", x[:, 1:])


def score_of(method, p, t, u, policy):
    """Logit of keep, its probability."""
    if method == "spvit":
        return selector(p, t, u, policy)
    log_p = predictor(p, t, u, policy[..., None])
    return log_p[..., 0] - log_p[..., 1], log_p[..., 0].exp()


def masked(p, case, pictures, gumbels, log):
    method, at = case[:2]
    x = embed(p, pictures)
    keep, packed, shares = x.new_ones(IMAGES, N0), x.new_ones(IMAGES, 0), []
    for i in range(DEPTH):
        if i in at:
            t = at.index(i)
            a, score = score_of(method, p, t, x[:, 1:], torch.cat([keep, packed], 1))
            a, score = a[:, :N0], score[:, :N0]
            after = gumbel_keep(F.logsigmoid(torch.stack([a, -a], -1)), gumbels[t])[..., 0] * keep
            if method == "spvit":
                row, there = package(x[:, 1 : 1 + N0], keep - after, score, "wavg")
                x, packed, log[f"package{t}"] = torch.cat([x, row], 1), torch.cat([packed, there], 1), row
            keep = after
            shares.append(keep.mean(1))
            log[f"a{t}"], log[f"score{t}"], log[f"keep{t}"] = a, score, keep
        x = block(p, i, x, torch.cat([x.new_ones(IMAGES, 1), keep, packed], 1))
    return x, keep, shares


def remove(p, case, picture, rule, kept_log):
    """One picture; tokens leave. rule(t, a) -> which of the patches that are left go on."""
    method, at = case[:2]
    x, left = embed(p, picture), N0
    for i in range(DEPTH):
        if i in at:
            t, u = at.index(i), x[:, 1:]
            a, score = score_of(method, p, t, u, u.new_ones(1, u.shape[1]))
            keep = rule(t, a[0, :left])
            parts = [x[:, :1], u[:, :left][:, keep], u[:, left:]]
            if method == "spvit":
                row, there = package(u[:, :left], (~keep).double()[None], score[:, :left], "wavg")
                if there.item():
                    parts.append(row)
            x, left = torch.cat(parts, 1), int(keep.sum())
            kept_log[t].append(left)
        x = block(p, i, x, torch.ones(x.shape[:2]))
    logits, answers = heads(p, x)
    return logits + 0.5 * answers[:, :left].max(1)[0]


def by_count(case):
    counts = [int(N0 * k + 1e-9) for k in case[2]]

    def rule(t, a):
        ranked, keep = a.argsort(descending=True), torch.zeros(len(a), dtype=torch.bool)
        if len(a) > counts[t]:
            assert a[ranked[counts[t] - 1]] - a[ranked[counts[t]]] > 1e-4, "scores too close"
        keep[ranked[: counts[t]]] = True
        return keep

    return rule


def by_threshold(thresholds):
    def rule(t, a):
        assert (torch.sigmoid(a) - thresholds[t]).abs().min() > 1e-5, "a score too close to its threshold"
        keep = torch.sigmoid(a) >= thresholds[t]
        if not keep.any():
            keep[a.argmax()] = True
        return keep

    return rule


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    pictures = torch.from_numpy(np.stack([both(f"picture{b}", 3 * SIDE * SIDE).reshape(3, SIDE, SIDE) for b in range(IMAGES)]))
    target = torch.full((IMAGES, CLASSES), 0.1 / CLASSES)
    target[range(IMAGES), [b % CLASSES for b in range(IMAGES)]] += 0.9
    for name, case in CASES.items():
        method, at, ratios, scope, square = case
        p, teacher, log = weights(method, len(at), ""), weights(method, 0, "teacher/"), {}
        with torch.no_grad():
            x = embed(teacher, pictures)
            for i in range(DEPTH):
                x = block(teacher, i, x, torch.ones(x.shape[:2]))
            t_logits, t_answers = heads(teacher, x)
        x, keep, shares = masked(p, case, pictures, make_gumbels(at), log)
        logits, answers = heads(p, x)
        chosen = keep.detach() > 0.5
        terms = {
            "cls": -(target * F.log_softmax(logits, -1)).sum(-1).mean(),
            "kl": F.kl_div(F.log_softmax(logits, -1), F.log_softmax(t_logits, -1), log_target=True, reduction="batchmean"),
            "token": F.kl_div(F.log_softmax(answers[:, :N0][chosen], -1), F.log_softmax(t_answers[chosen], -1), log_target=True, reduction="batchmean"),
        }
        ratio = 0
        for share, goal in zip(shares, ratios):
            ratio = ratio + square * ((share.mean() if scope == "batch" else share) - goal).square().mean()
        total = terms["cls"] + ratio + 0.5 * terms["kl"] + 0.5 * terms["token"]
        total.backward()
        for key, value in {**log, "logits": logits, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, v in p.items():
            if v.requires_grad:
                g = v.grad.numpy().ravel()
                put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * both("along/" + key, len(g))).sum()])
        thresholds = [small.middle_of_gap(torch.sigmoid(log[f"a{t}"])) for t in range(len(at))]
        put(f"{name}/thresholds", thresholds)
        with torch.no_grad():
            for rule_name, rule in (("topk", by_count(case)), ("threshold", by_threshold(thresholds))):
                counts = [[] for _ in at]
                put(f"{name}/{rule_name}_logits", torch.cat([remove(p, case, picture[None], rule, counts) for picture in pictures]))
                put(f"{name}/{rule_name}_kept", counts)
        print(name, "shares", [[f"{v:.2f}" for v in s.tolist()] for s in shares], {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}")
    with open(os.path.join(FOLDER, "lvvit_small.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
