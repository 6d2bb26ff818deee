#!/usr/bin/env python3
"""Writes distill.txt beside this file: steps of tiny students that learn from a teacher of other sizes, in float64 PyTorch. The loss is
DeiT's losses.py (facebookresearch/deit, DistillationLoss). Made with torch 2.13.0, numpy 2.

    python3 tests/golden/data/make_distill.py

Used by tests/golden/distill.c. Weights, pictures and targets are the hashes of make_spvit_small.py, lines and gradients as it writes them.
"""
import os
import numpy as np
import torch
import torch.nn.functional as F
import make_spvit_small as small

# kind, tau, alpha, student's prefix, its selectors before blocks, weight of tokens; teacher: width, heads, depth, hidden, patch, prefix
CASES = {
    "soft": ("soft", 1.0, 0.5, 2, (), 0.0, (16, 2, 2, 32, 8, 1)),
    "soft_warm": ("soft", 3.0, 0.3, 1, (), 0.0, (16, 2, 2, 32, 8, 2)),
    "hard": ("hard", 1.0, 0.5, 2, (), 0.0, (16, 2, 3, 32, 4, 1)),
    "hard_one_head": ("hard", 1.0, 0.25, 1, (), 0.5, (24, 2, 2, 48, 4, 2)),
    "soft_pruned": ("soft", 2.0, 0.7, 2, (1, 3), 0.5, (24, 3, 2, 48, 4, 1)),
    "hard_alone": ("hard", 1.0, 1.0, 2, (), 0.0, (16, 2, 2, 32, 4, 2)),
}


def sizes(width, heads, depth, hidden, patch):
    small.WIDTH, small.HEADS, small.DEPTH, small.HIDDEN, small.PATCH = width, heads, depth, hidden, patch
    small.GRID, small.D = small.SIDE // patch, width // heads
    small.N0 = small.GRID**2


def distillation(outputs_kd, teacher_outputs, kind, tau):
    if kind == "soft":
        return (F.kl_div(F.log_softmax(outputs_kd / tau, dim=1), F.log_softmax(teacher_outputs / tau, dim=1), reduction="sum", log_target=True)
                * (tau * tau) / outputs_kd.numel())
    return F.cross_entropy(outputs_kd, teacher_outputs.argmax(dim=1))


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    images, classes, side = small.IMAGES, small.CLASSES, small.SIDE
    pictures = torch.from_numpy(np.stack([small.both(f"picture{b}", 3 * side * side).reshape(3, side, side) for b in range(images)]))
    target = torch.full((images, classes), 0.1 / classes)
    target[range(images), [b % classes for b in range(images)]] += 0.9
    for name, (kind, tau, alpha, prefix, at, token_weight, (width, heads, depth, hidden, patch, t_prefix)) in CASES.items():
        sizes(width, heads, depth, hidden, patch)
        with torch.no_grad():
            teacher = small.weights(t_prefix, 0, "teacher/")
            x = small.embed(teacher, pictures, t_prefix)
            for i in range(depth):
                x = small.block(teacher, i, x, torch.ones(x.shape[:2]))
            t_logits, t_tokens = small.finish(teacher, x, t_prefix)
        top = t_logits.topk(2, -1).values
        assert (top[:, 0] - top[:, 1]).min() > 1e-3, "a teacher that rounding could turn"
        sizes(24, 3, 5, 48, 4)
        case = ("wavg", "mask", prefix, at, (0.7, 0.4), "batch", (0.0, 1.0), 0.0)
        noise = [torch.from_numpy(np.stack([small.both(f"noise{t}{b}", small.N0) for b in range(images)])) for t in range(len(at))]
        p = small.weights(prefix, len(at), "")
        x, keep, shares = small.masked(p, case, pictures, noise, {})
        x = small.norm(p, "norm", x, 1e-6)
        outputs = small.linear(p, "head", x[:, 0])
        outputs_kd = small.linear(p, "head_dist", x[:, 1]) if prefix == 2 else outputs
        terms = {"cls": -(target * F.log_softmax(outputs, -1)).sum(-1).mean(), "distill": distillation(outputs_kd, t_logits, kind, tau)}
        total = (1 - alpha) * terms["cls"] + alpha * terms["distill"]
        if token_weight:
            kept = keep.detach()[..., None]
            off = kept * (x[:, prefix : prefix + small.N0] - t_tokens[:, t_prefix:]) ** 2
            terms["token"] = off.sum() / (kept.sum() * small.WIDTH).clamp_min(1)
            total = total + token_weight * terms["token"]
        for share, goal in zip(shares, case[4]):
            total = total + (share.mean() - goal) ** 2
        total.backward()
        for key, value in {"logits": outputs, "distilled": outputs_kd, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, v in p.items():
            g = torch.zeros_like(v) if v.grad is None else v.grad
            g = g.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * small.both("along/" + key, len(g))).sum()])
        print(name, {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}", "kept", f"{keep.mean().item():.2f}")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "distill.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
