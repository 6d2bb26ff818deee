#!/usr/bin/env python3
"""Writes data/dynamicvit_small.txt: DynamicViT steps and removals of a tiny vision transformer in float64 PyTorch, by spec/dynamicvit.md.
Made with torch 2.13.0, numpy 2.

    python3 tests/golden/make_dynamicvit.py

Used by tests/golden/dynamicvit_small.c. What is no part of the method (hashed numbers, blocks, embedding, head) is that of
data/make_spvit_small.py; predictor, Gumbel-softmax, masked softmax, losses and top-k are written here as the paper's code has them:
decisions are two-class Gumbel-softmax over log-probabilities, kept tokens leave in order of their scores.
Picture 0 keeps everything at stage 0, picture 1 drops everything at the last stage, picture 2 drops everything at stage 0.
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
sys.path.insert(0, FOLDER)
from make_spvit_small import CLASSES, D, DEPTH, HEADS, IMAGES, N0, SIDE, WIDTH, block, both, embed, finish, linear, middle_of_gap, norm, shapes, unit  # noqa: E402

# prefix rows, predictors before blocks, keep ratios, scope of the ratio, eps of the masked softmax (0: exact, maximum over visible keys)
CASES = {
    "exact": (1, (1, 3), (0.7, 0.49), "image", 0.0),
    "reference": (1, (0, 2, 4), (0.7, 0.49, 0.343), "image", 1e-6),
    "batch": (2, (1, 2), (0.55, 0.3), "batch", 0.0),
}
KEEP, DROP = 0, 1


def weights(prefix, stages, salt):
    s = shapes(prefix, 0)
    for t in range(stages):
        for name, shape in (("in_conv.0", (WIDTH,)), ("in_conv.1", (WIDTH, WIDTH)), ("out_conv.0", (WIDTH // 2, WIDTH)), ("out_conv.2", (WIDTH // 4, WIDTH // 2)), ("out_conv.4", (2, WIDTH // 4))):
            s[f"score_predictor.{t}.{name}.weight"], s[f"score_predictor.{t}.{name}.bias"] = shape, shape[:1]
    out = {}
    for name, shape in s.items():
        v = both(salt + name, int(np.prod(shape)))
        if len(shape) == 1:
            v = 1 + 0.2 * v if name.endswith("weight") else 0.1 * v
        elif len(shape) == 3:
            v = 0.5 * v
        else:
            v = v * (3 / np.prod(shape[1:])) ** 0.5 * (2 if "predictor" in name else 1)
        out[name] = torch.from_numpy(v.reshape(shape)).requires_grad_()
    return out


def predictor(p, t, x, policy):
    """Log-probabilities [B, n, 2]; policy [B, n, 1]."""
    s = f"score_predictor.{t}."
    u = F.gelu(linear(p, s + "in_conv.1", norm(p, s + "in_conv.0", x, 1e-5)))
    local = u[:, :, : WIDTH // 2]
    mean = (u[:, :, WIDTH // 2 :] * policy).sum(1, keepdim=True) / policy.sum(1, keepdim=True).clamp_min(1)
    z = torch.cat([local, mean.expand(-1, x.shape[1], -1)], -1)
    z = linear(p, s + "out_conv.4", F.gelu(linear(p, s + "out_conv.2", F.gelu(linear(p, s + "out_conv.0", z)))))
    return F.log_softmax(z, -1)


def gumbel_keep(log_p, gumbels, tau=1.0):
    """One-hot of the largest, with the gradient of the softmax."""
    y = torch.softmax((log_p + gumbels) / tau, -1)
    hard = torch.zeros_like(y).scatter_(-1, y.argmax(-1, keepdim=True), 1.0)
    assert (y[..., KEEP] - 0.5).abs().min() > 1e-4, "a decision that rounding could turn"
    return (hard - y.detach() + y)[..., KEEP : KEEP + 1]


def block_reference(p, i, x, policy, eps):
    """The block of the paper's code: softmax_with_policy, its maximum over all keys, with its gradient (of the size of eps)."""
    b, rows, _ = x.shape
    q, k, v = linear(p, f"blocks.{i}.attn.qkv", norm(p, f"blocks.{i}.norm1", x, 1e-6)).view(b, rows, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    a = q @ k.mT * D**-0.5
    seen = policy[:, None, None, :]
    seen = seen + (1 - seen) * torch.eye(rows)
    a = (a - a.max(-1, keepdim=True)[0]).exp() * seen
    a = (a + eps / rows) / (a.sum(-1, keepdim=True) + eps)
    x = x + linear(p, f"blocks.{i}.attn.proj", (a @ v).transpose(1, 2).reshape(b, rows, WIDTH))
    return x + linear(p, f"blocks.{i}.mlp.fc2", F.gelu(linear(p, f"blocks.{i}.mlp.fc1", norm(p, f"blocks.{i}.norm2", x, 1e-6))))


def masked(p, case, pictures, gumbels, log):
    prefix, at, _, _, eps = case
    x = embed(p, pictures, prefix)
    keep, shares = x.new_ones(IMAGES, N0, 1), []
    for i in range(DEPTH):
        if i in at:
            t = at.index(i)
            log_p = predictor(p, t, x[:, prefix:], keep)
            keep = gumbel_keep(log_p, gumbels[t]) * keep
            shares.append(keep.mean((1, 2)))
            log[f"a{t}"], log[f"score{t}"], log[f"keep{t}"] = log_p[..., KEEP] - log_p[..., DROP], log_p[..., KEEP].exp(), keep
        policy = torch.cat([x.new_ones(IMAGES, prefix), keep[..., 0]], 1)
        x = block_reference(p, i, x, policy, eps) if eps else block(p, i, x, policy)
    return x, keep, shares


def remove(p, case, picture, rule, kept_log):
    """One picture; tokens leave. rule(t, scores of keep) -> numbers of the rows that go on."""
    prefix, at = case[:2]
    x = embed(p, picture, prefix)
    for i in range(DEPTH):
        if i in at:
            t, u = at.index(i), x[:, prefix:]
            score = predictor(p, t, u, u.new_ones(1, u.shape[1], 1))[0, :, KEEP].exp()
            keep = rule(t, score)
            x = torch.cat([x[:, :prefix], u[:, keep]], 1)
            kept_log[t].append(len(keep))
        x = block(p, i, x, torch.ones(x.shape[:2]))
    return finish(p, x, prefix)[0]


def by_count(case):
    counts = [int(N0 * k) for k in case[2]]

    def rule(t, score):
        ranked = score.argsort(descending=True)
        if len(score) > counts[t]:
            assert score[ranked[counts[t] - 1]] - score[ranked[counts[t]]] > 1e-4, "scores too close"
        return ranked[: counts[t]]

    return rule


def by_threshold(thresholds):
    def rule(t, score):
        assert (score - thresholds[t]).abs().min() > 1e-5, "a score too close to its threshold"
        keep = (score >= thresholds[t]).nonzero()[:, 0]
        return keep if len(keep) else score.argmax()[None]

    return rule


def make_gumbels(at):
    """Two Gumbel draws a patch whose difference is the logistic noise of the C side."""
    gumbels = []
    for t in range(len(at)):
        u = np.stack([unit(f"noise{t}{b}", N0) for b in range(IMAGES)]) * (1 - 2e-6) + 1e-6
        noise = np.log(u / (1 - u))
        for b in range(IMAGES):
            noise[b] = -50 if t + 1 == len(at) and b == 1 else 50 if t == 0 and b == 0 else -50 if t == 0 and b == 2 else noise[b]
        other = -np.log(-np.log(np.stack([unit(f"gumbel{t}{b}", N0) for b in range(IMAGES)]) * (1 - 2e-6) + 1e-6))
        gumbels.append(torch.from_numpy(np.stack([noise + other, other], -1)))
    return gumbels


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    pictures = torch.from_numpy(np.stack([both(f"picture{b}", 3 * SIDE * SIDE).reshape(3, SIDE, SIDE) for b in range(IMAGES)]))
    target = torch.full((IMAGES, CLASSES), 0.1 / CLASSES)
    target[range(IMAGES), [b % CLASSES for b in range(IMAGES)]] += 0.9
    for name, case in CASES.items():
        prefix, at, ratios, scope, _ = case
        p, teacher, log = weights(prefix, len(at), ""), weights(prefix, 0, "teacher/"), {}
        with torch.no_grad():
            x = embed(teacher, pictures, prefix)
            for i in range(DEPTH):
                x = block(teacher, i, x, torch.ones(x.shape[:2]))
            t_logits, t_tokens = finish(teacher, x, prefix)
        x, keep, shares = masked(p, case, pictures, make_gumbels(at), log)
        logits, tokens = finish(p, x, prefix)
        chosen = keep.detach()[..., 0] > 0.5
        terms = {
            "cls": -(target * F.log_softmax(logits, -1)).sum(-1).mean(),
            "kl": F.kl_div(F.log_softmax(logits, -1), F.log_softmax(t_logits, -1), log_target=True, reduction="batchmean"),
            "token": F.mse_loss(tokens[:, prefix:][chosen], t_tokens[:, prefix:][chosen]),
        }
        ratio = 0
        for share, goal in zip(shares, ratios):
            ratio = ratio + ((share.mean() if scope == "batch" else share) - goal).square().mean()
        total = terms["cls"] + 2 * ratio / len(at) + 0.5 * terms["kl"] + 0.5 * terms["token"]
        total.backward()
        for key, value in {**log, "logits": logits, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, v in p.items():
            g = v.grad.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * both("along/" + key, len(g))).sum()])
        thresholds = [middle_of_gap(log[f"score{t}"]) for t in range(len(at))]
        put(f"{name}/thresholds", thresholds)
        with torch.no_grad():
            for rule_name, rule in (("topk", by_count(case)), ("threshold", by_threshold(thresholds))):
                counts = [[] for _ in at]
                put(f"{name}/{rule_name}_logits", torch.cat([remove(p, case, picture[None], rule, counts) for picture in pictures]))
                put(f"{name}/{rule_name}_kept", counts)
        print(name, "shares", [[f"{v:.2f}" for v in s.tolist()] for s in shares], {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}")
    with open(os.path.join(FOLDER, "dynamicvit_small.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
