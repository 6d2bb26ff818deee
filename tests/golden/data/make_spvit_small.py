#!/usr/bin/env python3
"""Writes spvit_small.txt beside this file: SPViT steps and removals of a tiny vision transformer in float64 PyTorch, by spec/spvit.md.
Made with torch 2.13.0, numpy 2.

    python3 tests/golden/data/make_spvit_small.py

Used by tests/golden/spvit_small.c, which needs no other file: weights, pictures, noise and targets are hashes of (name, index), the same
on both sides. One line an array: "case/name value value ...". A gradient is two numbers: its norm, and its product with hashed numbers.
Picture 0 keeps everything at stage 0, picture 1 drops everything at the last stage, picture 2 drops everything at stage 0.
"""
import os
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
SIDE, PATCH, WIDTH, HEADS, DEPTH, HIDDEN, CLASSES, IMAGES = 16, 4, 24, 3, 5, 48, 7, 4
GRID, N0, D = SIDE // PATCH, (SIDE // PATCH) ** 2, WIDTH // HEADS
# form, what an empty package becomes, prefix rows, selectors before blocks, keep ratios, scope of the ratio, (linear, square) a stage, latency weight
CASES = {
    "wavg": ("wavg", "mask", 1, (1, 3), (0.7, 0.4), "batch", (0.0, 1.0), 0.0),
    "sum": ("sum", "keep_zero", 2, (0, 2, 4), (0.8, 0.5, 0.3), "image", (0.0, 2 / 3), 0.7),
    "mean": ("mean", "mask", 1, (2,), (0.5,), "batch", (0.3, 2.0), 0.0),
    "bare": ("none", "mask", 2, (1, 2), (0.6, 0.6), "batch", (0.0, 1.0), 0.4),
    "dense": ("none", "mask", 2, (), (), "batch", (0.0, 0.0), 0.0),
}


def unit(name, count):
    """count numbers in [0, 1): FNV-1a over the name and the four bytes of the index, mixed once more."""
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 % 2**32
    h, index = np.full(count, h, np.uint64), np.arange(count, dtype=np.uint64)
    for shift in (0, 8, 16, 24):
        h = (h ^ (index >> np.uint64(shift) & np.uint64(255))) * np.uint64(16777619) % np.uint64(2**32)
    h ^= h >> np.uint64(15)
    h = h * np.uint64(2654435761) % np.uint64(2**32)
    h ^= h >> np.uint64(13)
    return h.astype(np.float64) / 2**32


def both(name, count):
    return 2 * unit(name, count) - 1


def shapes(prefix, stages):
    s = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, N0 + prefix, WIDTH), "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)}
    if prefix == 2:
        s["dist_token"] = (1, 1, WIDTH)

    def pair(name, *shape):
        s[name + ".weight"], s[name + ".bias"] = shape, shape[:1]

    for i in range(DEPTH):
        for name, shape in (("norm1", (WIDTH,)), ("attn.qkv", (3 * WIDTH, WIDTH)), ("attn.proj", (WIDTH, WIDTH)), ("norm2", (WIDTH,)), ("mlp.fc1", (HIDDEN, WIDTH)), ("mlp.fc2", (WIDTH, HIDDEN))):
            pair(f"blocks.{i}.{name}", *shape)
    pair("norm", WIDTH)
    for head in ("head", "head_dist")[:prefix]:
        pair(head, CLASSES, WIDTH)
    for t in range(stages):
        for name, shape in (("norm", (D,)), ("fc_in", (D, D)), ("fc1", (D // 2, D)), ("fc2", (D // 4, D // 2)), ("fc_out", (2, D // 4)), ("head_fc1", (HEADS // 2, HEADS)), ("head_fc2", (HEADS, HEADS // 2))):
            pair(f"selectors.{t}.{name}", *shape)
    return s


def weights(prefix, stages, salt):
    """Rows of a linear layer keep the size of what they read; the selectors' are twice as large, so that decisions differ."""
    out = {}
    for name, shape in shapes(prefix, stages).items():
        v = both(salt + name, int(np.prod(shape)))
        if "norm" in name and name.endswith("weight"):
            v = 1 + 0.2 * v
        elif len(shape) == 1:
            v = 0.1 * v
        elif len(shape) == 3:
            v = 0.5 * v
        else:
            v = v * (3 / np.prod(shape[1:])) ** 0.5 * (2 if "selectors" in name else 1)
        out[name] = torch.from_numpy(v.reshape(shape)).requires_grad_()
    return out


def linear(p, name, x):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def norm(p, name, x, eps):
    return F.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"], eps)


def block(p, i, x, policy):
    """Attention sees rows with policy 1, and each row itself."""
    b, rows, _ = x.shape
    q, k, v = linear(p, f"blocks.{i}.attn.qkv", norm(p, f"blocks.{i}.norm1", x, 1e-6)).view(b, rows, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    a = q @ k.mT / D**0.5
    own = torch.eye(rows)
    seen = own + policy[:, None, None, :] * (1 - own)
    top = torch.where(seen.detach() > 0, a, -torch.inf).max(-1, keepdim=True).values.detach()
    e = (a - top).clamp_max(30).exp() * seen
    mixed = (e @ v / e.sum(-1, keepdim=True)).transpose(1, 2).reshape(b, rows, WIDTH)
    x = x + linear(p, f"blocks.{i}.attn.proj", mixed)
    return x + linear(p, f"blocks.{i}.mlp.fc2", F.gelu(linear(p, f"blocks.{i}.mlp.fc1", norm(p, f"blocks.{i}.norm2", x, 1e-6))))


def selector(p, t, u, policy):
    s = f"selectors.{t}."
    by_head = u.view(*u.shape[:2], HEADS, D)
    importance = torch.sigmoid(linear(p, s + "head_fc2", F.gelu(linear(p, s + "head_fc1", by_head.mean(-1)))))
    v = F.gelu(linear(p, s + "fc_in", norm(p, s + "norm", by_head, 1e-5)))
    there = policy[:, :, None, None]
    mean = (there * v[..., D // 2 :]).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1e-6)
    v = torch.cat([v[..., : D // 2], mean.expand_as(v[..., D // 2 :])], -1)
    z = linear(p, s + "fc_out", F.gelu(linear(p, s + "fc2", F.gelu(linear(p, s + "fc1", v)))))
    share = importance / importance.sum(-1, keepdim=True)
    return (share * (z[..., 0] - z[..., 1])).sum(-1), (share * torch.softmax(z, -1)[..., 0]).sum(-1)


def package(u, drop, score, form):
    weight = drop if form == "mean" else drop * score
    total, some = (weight[..., None] * u).sum(1, keepdim=True), drop.detach().sum(1, keepdim=True) > 0
    if form != "sum":
        total = total / torch.where(some, weight.sum(1, keepdim=True), 1)[..., None]
    return total, some.double()


def embed(p, pictures, prefix):
    x = F.conv2d(pictures, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=PATCH).flatten(2).mT
    tokens = [p[name].expand(len(x), -1, -1) for name in ("cls_token", "dist_token")[:prefix]]
    return torch.cat([*tokens, x], 1) + p["pos_embed"]


def finish(p, x, prefix):
    x = norm(p, "norm", x, 1e-6)
    logits = linear(p, "head", x[:, 0])
    return (logits + linear(p, "head_dist", x[:, 1])) / 2 if prefix == 2 else logits, x


def masked(p, case, pictures, noise, log):
    form, empty, prefix, at, _, _, _, _ = case
    x = embed(p, pictures, prefix)
    keep, packed = x.new_ones(IMAGES, N0), x.new_ones(IMAGES, 0)
    shares = []
    for i in range(DEPTH):
        if i in at:
            t = at.index(i)
            a, score = selector(p, t, x[:, prefix:], torch.cat([keep, packed], 1))
            a, score = a[:, :N0], score[:, :N0]
            soft = torch.sigmoid(a + noise[t])
            assert (soft - 0.5).abs().min() > 1e-4, "a decision that rounding could turn"
            after = keep * ((soft >= 0.5).double() - soft.detach() + soft)
            if form != "none":
                row, there = package(x[:, prefix : prefix + N0], keep - after, score, form)
                x = torch.cat([x, row], 1)
                packed = torch.cat([packed, there if empty == "mask" else torch.ones_like(there)], 1)
                log[f"package{t}"] = row
            keep = after
            shares.append(keep.mean(1))
            log[f"a{t}"], log[f"score{t}"], log[f"keep{t}"] = a, score, keep
        x = block(p, i, x, torch.cat([x.new_ones(IMAGES, prefix), keep, packed], 1))
    return x, keep, shares


def remove(p, case, picture, rule, kept_log):
    """One picture; tokens leave. rule(t, a) -> which of the patches that are left go on."""
    form, empty, prefix, at, _, _, _, _ = case
    x, left = embed(p, picture, prefix), N0
    for i in range(DEPTH):
        if i in at:
            t, u = at.index(i), x[:, prefix:]
            a, score = selector(p, t, u, torch.ones(u.shape[:2]))
            keep = rule(t, a[0, :left])
            parts = [x[:, :prefix], u[:, :left][:, keep], u[:, left:]]
            if form != "none":
                row, there = package(u[:, :left], (~keep).double()[None], score[:, :left], form)
                if there.item() or empty == "keep_zero":
                    parts.append(row)
            x, left = torch.cat(parts, 1), int(keep.sum())
            kept_log[t].append(left)
        x = block(p, i, x, torch.ones(x.shape[:2]))
    return finish(p, x, prefix)[0]


def by_count(case):
    counts = [int(N0 * k + 1e-9) for k in case[4]]
    def rule(t, a):
        ranked = a.argsort(descending=True)
        if len(a) > counts[t]:
            assert a[ranked[counts[t] - 1]] - a[ranked[counts[t]]] > 1e-4, "scores too close"
        keep = torch.zeros(len(a), dtype=torch.bool)
        keep[ranked[: counts[t]]] = True
        return keep
    return rule


def middle_of_gap(p):
    """The middle of the widest gap among the middle half of the values."""
    p = p.detach().ravel().sort().values
    p = p[len(p) // 4 : -len(p) // 4]
    at = p.diff().argmax()
    return (p[at] + p[at + 1]).item() / 2


def by_threshold(thresholds):
    def rule(t, a):
        p = torch.sigmoid(a)
        assert (p - thresholds[t]).abs().min() > 1e-5, "a score too close to its threshold"
        keep = p >= thresholds[t]
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
        form, empty, prefix, at, ratios, scope, (flat, square), latency_weight = case
        p, teacher, log = weights(prefix, len(at), ""), weights(prefix, 0, "teacher/"), {}
        noise = []
        for t in range(len(at)):
            u = np.stack([unit(f"noise{t}{b}", N0) for b in range(IMAGES)]) * (1 - 2e-6) + 1e-6
            noise.append(torch.from_numpy(np.log(u / (1 - u))))
        if at:
            noise[0][0], noise[0][2], noise[-1][1] = 50, -50, -50
        with torch.no_grad():
            x = embed(teacher, pictures, prefix)
            for i in range(DEPTH):
                x = block(teacher, i, x, torch.ones(x.shape[:2]))
            t_logits, t_tokens = finish(teacher, x, prefix)
        x, keep, shares = masked(p, case, pictures, noise, log)
        logits, tokens = finish(p, x, prefix)
        kept = keep.detach()[..., None]
        off = kept * (tokens[:, prefix : prefix + N0] - t_tokens[:, prefix:]) ** 2
        terms = {
            "cls": -(target * F.log_softmax(logits, -1)).sum(-1).mean(),
            "kl": F.kl_div(F.log_softmax(logits, -1), F.log_softmax(t_logits, -1), log_target=True, reduction="batchmean"),
            "token": off.sum() / (kept.sum() * WIDTH).clamp_min(1),
        }
        total = terms["cls"] + 0.5 * terms["kl"] + 0.5 * terms["token"]
        for share, goal in zip(shares, ratios):
            m = share.mean() if scope == "batch" else share
            total = total + (flat * (m - goal) + square * (m - goal) ** 2).mean()
        if latency_weight:
            # piecewise linear curves, 2 + hashed steps a patch; the budget is 0.35 of what all patches would take
            ms, full = torch.tensor(1.5), 1.5
            for t, share in enumerate(shares):
                curve = torch.from_numpy(np.cumsum(unit(f"curve{t}", N0 + 1)))
                at_kept = share.mean() * N0
                low = int(min(at_kept.item(), N0 - 1))
                ms, full = ms + curve[low] + (at_kept - low) * (curve[low + 1] - curve[low]), full + curve[-1].item()
            budget = 0.35 * full
            terms["latency"], log["ms"] = ((ms - budget).clamp_min(0) / budget) ** 2, ms
            assert ms > budget
            total = total + latency_weight * terms["latency"]
        total.backward()
        for key, value in {**log, "logits": logits, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, v in p.items():
            g = v.grad.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * both("along/" + key, len(g))).sum()])
        thresholds = [middle_of_gap(torch.sigmoid(log[f"a{t}"])) for t in range(len(at))]
        put(f"{name}/thresholds", thresholds)
        with torch.no_grad():
            for rule_name, rule in (("topk", by_count(case)), ("threshold", by_threshold(thresholds)))[: 2 if at else 0]:
                counts = [[] for _ in at]
                put(f"{name}/{rule_name}_logits", torch.cat([remove(p, case, picture[None], rule, counts) for picture in pictures]))
                put(f"{name}/{rule_name}_kept", counts)
        print(name, "shares", [[f"{v:.2f}" for v in s.tolist()] for s in shares], {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "spvit_small.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
