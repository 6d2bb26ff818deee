#!/usr/bin/env python3
"""Writes data/fixed_small.txt: training steps and answers of a tiny vision transformer whose tokens are taken by scores that nobody learns, in float64
PyTorch. Made with torch 2.13.0, numpy 2.

    python3 tests/golden/make_fixed.py

Used by tests/golden/fixed_small.c. Written from the papers: EViT (Liang et al. 2022, section 3: top k by the class token's attention between attention
and MLP, the others as their sum weighted by it), ToMe (Bolya et al. 2023, section 3: bipartite soft matching on mean keys, means weighted by size,
log size added to attention). attention: as EViT's scores, of the block in front, without gradient and without a fused token. Tokens fused at an earlier
stage of EViT stay as they are, as in our code. Hashed numbers, embedding and heads are those of data/make_spvit_small.py.
"""
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
sys.path.insert(0, FOLDER)
from make_spvit_small import CLASSES, D, DEPTH, HEADS, IMAGES, N0, SIDE, WIDTH, block, both, embed, finish, linear, norm, weights  # noqa: E402

# prefix rows, stages before (evit: inside) blocks, keep ratios, weight of the token loss
CASES = {
    "attention": (1, (1, 3), (0.7, 0.49), 0.5),
    "evit": (1, (0, 2, 4), (0.7, 0.5, 0.3), 0.5),
    "evit_two": (2, (1, 2), (0.8, 0.4), 0.5),
    "tome": (1, (0,), (0.4,), 0.0),
    "tome_two": (2, (0,), (0.25,), 0.0),
}


def attention(p, i, x, size):
    """x behind the attention of block i, weights [B,H,n,n], keys [B,H,n,d]. size [B,n] or None."""
    b, rows, _ = x.shape
    q, k, v = linear(p, f"blocks.{i}.attn.qkv", norm(p, f"blocks.{i}.norm1", x, 1e-6)).view(b, rows, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    a = q @ k.mT / D**0.5
    if size is not None:
        a = a + size.log()[:, None, None, :]
    a = a.softmax(-1)
    return x + linear(p, f"blocks.{i}.attn.proj", (a @ v).transpose(1, 2).reshape(b, rows, WIDTH)), a, k


def mlp(p, i, x):
    return x + linear(p, f"blocks.{i}.mlp.fc2", F.gelu(linear(p, f"blocks.{i}.mlp.fc1", norm(p, f"blocks.{i}.norm2", x, 1e-6))))


def best(score, count):
    """Places of the largest, in order of places, and the others."""
    ranked = score.argsort(1, descending=True)
    sorted_score = score.gather(1, ranked)
    assert (sorted_score[:, count - 1] - sorted_score[:, count]).min() > 1e-5, "scores too close"
    return ranked[:, :count].sort(1).values, ranked[:, count:].sort(1).values


def rows_of(x, index):
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def cut(x, origin, prefix, score, count, fuse):
    """x: prefix, patches, fused tokens; score [B, patches]. Returns what goes on and where its patches are from."""
    left = origin.shape[1]
    keep, drop = best(score.detach(), count)
    u = x[:, prefix : prefix + left]
    parts = [x[:, :prefix], rows_of(u, keep), x[:, prefix + left :]]
    if fuse:
        parts.append((rows_of(u, drop) * score.gather(1, drop)[..., None]).sum(1, keepdim=True))
    return torch.cat(parts, 1), origin.gather(1, keep)


def meet(x, size, origin, keys, prefix, r):
    """Bipartite soft matching: even rows into odd rows."""
    with torch.no_grad():
        m = keys.mean(1)
        m = m / m.norm(dim=-1, keepdim=True)
        a, b = m[:, ::2], m[:, 1::2]
        scores = a @ b.mT
        scores[:, 0] = -torch.inf
        if prefix == 2:
            scores[:, :, 0] = -torch.inf
        top, other = scores.max(-1)
        ranked = top.argsort(1, descending=True)
        if r < a.shape[1] - 1:
            t = top.gather(1, ranked)
            assert r == 0 or (t[:, r - 1] - t[:, r]).min() > 1e-7, "similarities too close"
        gone, stay = ranked[:, :r], ranked[:, r:].sort(1).values
        to = other.gather(1, gone)

    def merge(y):
        even, odd = y[:, ::2], y[:, 1::2]
        odd = odd.scatter_add(1, to[..., None].expand(-1, -1, y.shape[-1]), rows_of(even, gone))
        even = rows_of(even, stay)
        return torch.cat([even, odd] if prefix == 1 else [even[:, :1], odd[:, :1], even[:, 1:], odd[:, 1:]], 1)

    after = merge(size[..., None])
    even, odd = origin[:, ::2].gather(1, stay), origin[:, 1::2]
    places = torch.cat([even, odd] if prefix == 1 else [even[:, :1], odd[:, :1], even[:, 1:], odd[:, 1:]], 1)
    return merge(x * size[..., None]) / after, after[..., 0], places


def walk(p, name, case, pictures):
    """Tokens in front of the last norm, where patches are from, how many were left by stage."""
    prefix, at, ratios, _ = case
    counts = [int(N0 * k + 1e-9) for k in ratios]
    x = embed(p, pictures, prefix)
    origin, watched = torch.arange(N0).expand(IMAGES, -1), None
    if name.startswith("tome"):
        size, origin = x.new_ones(IMAGES, N0 + prefix), torch.arange(-prefix, N0).expand(IMAGES, -1)
        for i in range(DEPTH):
            gone = N0 - counts[0]
            r = min(gone * (i + 1) // DEPTH - gone * i // DEPTH, (x.shape[1] - prefix) // 2)
            x, _, keys = attention(p, i, x, size)
            x, size, origin = meet(x, size, origin, keys, prefix, r)
            x = mlp(p, i, x)
        return x, origin[:, prefix:], [origin.shape[1] - prefix]
    for i in range(DEPTH):
        if name == "attention" and i in at:
            x, origin = cut(x, origin, prefix, watched, counts[at.index(i)], False)
        left = origin.shape[1]
        x, a, _ = attention(p, i, x, None)
        watched = a.mean(1)[:, 0, prefix : prefix + left]
        if name.startswith("evit") and i in at:
            x, origin = cut(x, origin, prefix, watched, counts[at.index(i)], True)
        x = mlp(p, i, x)
    return x, origin, counts


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    pictures = torch.from_numpy(np.stack([both(f"picture{b}", 3 * SIDE * SIDE).reshape(3, SIDE, SIDE) for b in range(IMAGES)]))
    target = torch.full((IMAGES, CLASSES), 0.1 / CLASSES)
    target[range(IMAGES), [b % CLASSES for b in range(IMAGES)]] += 0.9
    for name, case in CASES.items():
        prefix, _, _, token_weight = case
        p, teacher = weights(prefix, 0, ""), weights(prefix, 0, "teacher/")
        with torch.no_grad():
            x = embed(teacher, pictures, prefix)
            for i in range(DEPTH):
                x = block(teacher, i, x, torch.ones(x.shape[:2]))
            t_logits, t_tokens = finish(teacher, x, prefix)
        x, origin, counts = walk(p, name, case, pictures)
        logits, tokens = finish(p, x, prefix)
        terms = {
            "cls": -(target * F.log_softmax(logits, -1)).sum(-1).mean(),
            "kl": F.kl_div(F.log_softmax(logits, -1), F.log_softmax(t_logits, -1), log_target=True, reduction="batchmean"),
        }
        if token_weight:
            terms["token"] = F.mse_loss(tokens[:, prefix : prefix + origin.shape[1]], rows_of(t_tokens[:, prefix:], origin))
        total = terms["cls"] + 0.5 * terms["kl"] + token_weight * terms.get("token", 0)
        total.backward()
        for key, value in {"logits": logits, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, v in p.items():
            g = v.grad.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * both("along/" + key, len(g))).sum()])
        put(f"{name}/thresholds", [0.5] * len(counts))
        put(f"{name}/topk_logits", logits)
        put(f"{name}/topk_kept", [[c] * IMAGES for c in counts])
        print(name, "kept", counts, {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}")
    with open(os.path.join(FOLDER, "fixed_small.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
