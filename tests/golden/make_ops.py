#!/usr/bin/env python3
"""Writes ops.h beside this file: what PyTorch gives for a few ops, forward and backward, in float64. Made with torch 2.13.0.

    python3 tests/golden/make_ops.py

Used by tests/unit/autograd/op_goldens.c. Every loss is a sum of squares against constants, so that all gradients differ from zero.
"""
import os
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(20)
arrays = []


def normal(*shape, scale=1.0, shift=0.0):
    return (torch.randn(shape, generator=generator) * scale + shift).float().double()


def put(name, tensor):
    arrays.append((name, [float(v) for v in tensor.detach().flatten()]))


def case(name, inputs, function):
    """inputs: name -> tensor (a leading '.' keeps it constant); function returns the output or (name -> output)."""
    leaves = {k.lstrip("."): v.clone().requires_grad_(not k.startswith(".")) for k, v in inputs.items()}
    outputs = function(**leaves)
    outputs = outputs if isinstance(outputs, dict) else {"y": outputs}
    loss = 0
    for key, out in outputs.items():
        goal = normal(*out.shape)
        put(f"{name}_{key}", out)
        put(f"{name}_{key}_goal", goal)
        loss = loss + ((out - goal) ** 2).sum()
    loss.backward()
    for key, leaf in leaves.items():
        put(f"{name}_{key}", leaf)
        if leaf.grad is not None:
            put(f"{name}_d_{key}", leaf.grad)


def attention(qkv, policy, heads, eps, top_all):
    rows, width = qkv.shape[0], qkv.shape[1] // 3
    q, k, v = qkv.reshape(rows, 3, heads, width // heads).permute(1, 2, 0, 3)
    a = q @ k.transpose(-1, -2) * (width // heads) ** -0.5
    eye = torch.eye(rows)
    seen = policy.reshape(1, 1, rows) * (1 - eye) + eye
    top = (a if top_all else a.masked_fill(seen == 0, float("-inf"))).amax(-1, keepdim=True)
    e = (a - top).exp() * seen
    p = (e + eps / rows) / (e.sum(-1, keepdim=True) + eps)
    return (p @ v).transpose(0, 1).reshape(rows, width)


def selector(u, before, noise, norm_weight, norm_bias, fc_in_weight, fc_in_bias, fc1_weight, fc1_bias, fc2_weight, fc2_bias, fc_out_weight, fc_out_bias,
             head_fc1_weight, head_fc1_bias, head_fc2_weight, head_fc2_bias):
    rows, width, heads, patches = u.shape[0], u.shape[1], 3, 5
    d = width // heads
    by_head = u.reshape(rows, heads, d)
    w = torch.sigmoid(F.linear(F.gelu(F.linear(by_head.mean(-1), head_fc1_weight, head_fc1_bias)), head_fc2_weight, head_fc2_bias))
    v = F.gelu(F.linear(F.layer_norm(by_head, (d,), norm_weight, norm_bias, 1e-5), fc_in_weight, fc_in_bias))
    m = before.reshape(rows, 1, 1)
    together = (v[..., d // 2:] * m).sum(0, keepdim=True) / m.sum()
    x = torch.cat([v[..., : d // 2], together.expand(rows, heads, d // 2)], -1)
    z = F.linear(F.gelu(F.linear(F.gelu(F.linear(x, fc1_weight, fc1_bias)), fc2_weight, fc2_bias)), fc_out_weight, fc_out_bias)
    log_scores = (w.unsqueeze(-1) * z.log_softmax(-1)).sum(1) / w.sum(1, keepdim=True)
    a = log_scores[:, :1] - log_scores[:, 1:]
    score = (w * z.softmax(-1)[..., 0]).sum(1, keepdim=True) / w.sum(1, keepdim=True)
    soft = torch.sigmoid(a[:patches] + noise)
    hard = (soft >= 0.5).double()
    keep = torch.cat([before[:patches] * (hard - soft.detach() + soft), before[patches:]])
    drop = before - keep
    package = (drop * score * u).sum(0, keepdim=True) / (drop * score).sum()
    return {"a": a, "score": score, "keep": keep, "package": package}


def main():
    case("norm", {"x": normal(3, 17, scale=2, shift=0.5), "gain": normal(17), "bias": normal(17)},
         lambda x, gain, bias: F.layer_norm(x, (17,), gain, bias, 1e-6))
    case("gelu", {"x": torch.cat([torch.linspace(-6, 6, 25), normal(8)]).reshape(3, 11)}, F.gelu)
    case("patches", {"picture": normal(3, 4, 6), "weight": normal(5, 3, 2, 2), "bias": normal(5)},
         lambda picture, weight, bias: F.conv2d(picture[None], weight, bias, stride=2).flatten(2).transpose(1, 2)[0])
    qkv, ones, some = normal(6, 24), torch.ones(6, 1), torch.tensor([1.0, 0, 1, 1, 0, 1]).reshape(6, 1)
    case("attention", {"qkv": qkv, ".policy": ones}, lambda qkv, policy: attention(qkv, policy, 2, 0.0, False))
    case("masked", {"qkv": qkv, "policy": some}, lambda qkv, policy: attention(qkv, policy, 2, 0.0, False))
    case("reference", {"qkv": qkv, "policy": some}, lambda qkv, policy: attention(qkv, policy, 2, 1e-6, True))
    case("entropy", {"logits": normal(1, 10, scale=3), ".target": normal(1, 10).softmax(-1)},
         lambda logits, target: F.cross_entropy(logits, target).reshape(1, 1))
    case("kl", {"logits": normal(1, 10, scale=3), ".teacher": normal(1, 10, scale=3)},
         lambda logits, teacher: F.kl_div(logits.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True).reshape(1, 1))
    d, h = 8, 3
    shapes = {"fc_in": (d, d), "fc1": (d // 2, d), "fc2": (d // 4, d // 2), "fc_out": (2, d // 4), "head_fc1": (h // 2, h), "head_fc2": (h, h // 2)}
    inputs = {"u": normal(7, d * h), "before": torch.tensor([1.0, 1, 0, 1, 1, 1, 1]).reshape(7, 1), ".noise": torch.tensor([3.0, -3, 1, -2, 0.5]).reshape(5, 1),
              "norm_weight": normal(d, scale=0.1, shift=1), "norm_bias": normal(d, scale=0.1)}
    for name, shape in shapes.items():
        inputs[name + "_weight"], inputs[name + "_bias"] = normal(*shape, scale=shape[1] ** -0.5), normal(shape[0], scale=0.1)
    case("selector", inputs, selector)

    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "ops.h"), "w") as out:
        out.write("/* Numbers from PyTorch %s, float64. Written by tests/golden/make_ops.py; do not edit. */\n" % torch.__version__.split("+")[0])
        out.write("#ifndef SIEVE_GOLDEN_OPS_H\n#define SIEVE_GOLDEN_OPS_H\n\n")
        for name, values in arrays:
            out.write("static const double golden_%s[] = {" % name)
            for i, v in enumerate(values):
                out.write(("\n    " if i % 6 == 0 else " ") + repr(v) + ",")
            out.write("\n};\n")
        out.write("\n#endif\n")


if __name__ == "__main__":
    main()
