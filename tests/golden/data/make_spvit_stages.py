#!/usr/bin/env python3
"""Writes spvit_stages.txt beside this file: SPViT steps and removals of small PiT and Swin models in float64 PyTorch, written from spec
"SPViT on other backbones" 3.4-3.9 and 4.4-4.9: whole grids with masks for the step, gathered rows for removal. Made with torch 2.13.0, numpy 2.

    python3 tests/golden/data/make_spvit_stages.py

Used by tests/golden/spvit_stages.c. Models are those of make_backbones.py, numbers the hashes of make_spvit_small.py.
Picture 0 keeps everything at selector 0, picture 1 drops everything at the last one, picture 2 drops everything at selector 0.
"""
import os
import numpy as np
import torch
import torch.nn.functional as F
import make_backbones as backbones
import make_spvit_small as small

torch.set_default_dtype(torch.float64)
IMAGES, CLASSES = small.IMAGES, small.CLASSES
PIT = dict(side=16, grids=(7, 4, 2), widths=(8, 16, 32), depths=(1, 2, 1), heads=(1, 2, 4))
SWIN = dict(side=32, grids=(8, 4, 2), widths=(8, 16, 32), depths=(2, 2, 1), heads=(1, 2, 4))
# sizes, prefix rows, selectors before blocks, keep ratios, package form, what an empty package becomes
CASES = {
    "pit_wavg": (PIT, 1, (0, 2, 3), (0.7, 0.5, 0.5), "wavg", "mask"),
    "pit_mean": (PIT, 2, (1, 2), (0.8, 0.5), "mean", "mask"),
    "pit_sum": (PIT, 1, (1, 3), (0.6, 0.5), "sum", "keep_zero"),
    "pit_bare": (PIT, 1, (0, 1), (0.6, 0.7), "none", "mask"),
    "swin_wavg": (SWIN, 0, (2, 4), (0.6, 0.5), "wavg", "mask"),
    "swin_mean": (SWIN, 0, (0, 1, 3), (0.7, 0.5, 0.5), "mean", "keep_zero"),
    "swin_sum": (SWIN, 0, (2, 3), (0.7, 0.4), "sum", "mask"),
    "swin_bare": (SWIN, 0, (1, 2, 4), (0.5, 0.6, 0.5), "none", "mask"),
}


class Model:
    """A backbone of make_backbones.py taken apart, with selectors of its own."""

    def __init__(self, case, salt):
        self.sizes, self.prefix, self.at, _, self.form, self.empty = case
        s = self.sizes
        self.swin = s is SWIN
        if self.swin:
            self.net = backbones.Swin(32, 8, s["depths"], s["heads"], 2, 2)
        else:
            self.net = backbones.Pit(16, 4, 2, s["widths"], s["depths"], s["heads"], 2, self.prefix == 2)
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(self.number(salt, name, p.shape))
        self.p = dict(self.net.named_parameters())
        for t, i in enumerate(self.at if not salt else ()):
            heads = s["heads"][self.place(i)[0]]
            d, half = s["widths"][self.place(i)[0]] // heads, max(heads // 2, 1)
            for name, shape in (("norm", (d,)), ("fc_in", (d, d)), ("fc1", (d // 2, d)), ("fc2", (d // 4, d // 2)), ("fc_out", (2, d // 4)), ("head_fc1", (half, heads)), ("head_fc2", (heads, half))):
                for end, size in ((".weight", shape), (".bias", shape[:1])):
                    name_ = f"selectors.{t}.{name}{end}"
                    self.p[name_] = self.number(salt, name_, size).requires_grad_()

    @staticmethod
    def number(salt, name, shape):
        v = small.both(salt + name, int(np.prod(shape)))
        if len(shape) == 1 and name.endswith(".weight") and "norm" in name:
            v = 1 + 0.2 * v
        else:
            v = v * (0.1 if len(shape) == 1 else 0.5 if len(shape) == 3 else (3 / np.prod(shape[1:])) ** 0.5 * (2 if "selectors" in name else 1))
        return torch.from_numpy(v.reshape(tuple(shape)))

    def place(self, i):
        """Stage and number inside of block i."""
        stage = 0
        while i >= self.sizes["depths"][stage]:
            i -= self.sizes["depths"][stage]
            stage += 1
        return stage, i

    def cells(self, stage):
        return self.sizes["grids"][stage] ** 2

    def block(self, i):
        stage, inside = self.place(i)
        return (self.net.layers if self.swin else self.net.transformers)[stage]["blocks"][inside]

    def embed(self, pictures):
        if self.swin:
            return self.net.patch_embed["norm"](self.net.patch_embed["proj"](pictures).flatten(2).mT)
        x = self.net.patch_embed["conv"](pictures) + self.net.pos_embed
        return torch.cat([self.net.cls_token.expand(len(x), -1, -1), x.flatten(2).mT], 1)

    def enter(self, stage, x):
        """Prefix, grid and package rows to the next stage."""
        n, g = self.cells(stage - 1), self.sizes["grids"][stage - 1]
        before, grid, behind = x[:, : self.prefix], x[:, self.prefix : self.prefix + n], x[:, self.prefix + n :]
        if self.swin:
            down = self.net.layers[stage]["downsample"]
            return torch.cat([down(grid), down.reduction(down.norm(torch.cat([behind] * 4, -1)))], 1)
        pool = self.net.transformers[stage]["pool"]
        grid = pool.conv(grid.mT.reshape(len(x), -1, g, g)).flatten(2).mT
        return torch.cat([pool.fc(before), grid, pool.fc(behind)], 1)

    def bias(self, i, rows):
        """What is added to scores of block i, [heads, rows, rows]; minus infinity where rows never see one another."""
        stage, inside = self.place(i)
        heads, n = self.sizes["heads"][stage], self.cells(stage)
        bias = torch.zeros(heads, rows, rows)
        if not self.swin:
            return bias
        block = self.block(i)
        g, w, shift = block.grid, block.window, block.shift
        at = torch.arange(n)
        r, c = (at // g - shift) % g, (at % g - shift) % g
        band = lambda v: (v >= g - w).long() + (v >= g - shift).long() if shift else torch.zeros_like(v)
        window, label = r // w * (g // w) + c // w, 3 * band(r) + band(c)
        apart = (r[:, None] % w - r % w + w - 1) * (2 * w - 1) + c[:, None] % w - c % w + w - 1
        same = window[:, None] == window
        near = block.attn.relative_position_bias_table[torch.where(same, apart, 0)].permute(2, 0, 1) + (label[:, None] != label) * -100.0
        near = torch.where(same, near, -torch.inf)
        top = torch.cat([near, bias[:, :n, n:]], 2)
        return torch.cat([top, bias[:, n:]], 1)

    def run(self, i, x, bias, policy):
        """Block i over all rows; policy [B, rows] of keys, None: all rows there are seen."""
        block = self.block(i)
        b, n, c = x.shape
        q, k, v = block.attn["qkv"](block.norm1(x)).view(b, n, 3, block.heads, c // block.heads).permute(2, 0, 3, 1, 4)
        a = q @ k.mT * (c // block.heads) ** -0.5 + bias
        if policy is None:
            mixed = a.softmax(-1) @ v
        else:
            own = torch.eye(n)
            seen = own + policy[:, None, None, :] * (1 - own)
            top = torch.where(seen.detach() > 0, a, -torch.inf).max(-1, keepdim=True).values.detach()
            e = (a - top).clamp_max(30).exp() * seen
            mixed = e @ v / e.sum(-1, keepdim=True)
        x = x + block.attn["proj"](mixed.transpose(1, 2).reshape(b, n, c))
        return x + block.feed(block.norm2(x))

    def selector(self, t, u, policy):
        s, heads = f"selectors.{t}.", self.sizes["heads"][self.place(self.at[t])[0]]
        d = u.shape[-1] // heads
        by_head = u.view(*u.shape[:2], heads, d)
        importance = torch.sigmoid(small.linear(self.p, s + "head_fc2", F.gelu(small.linear(self.p, s + "head_fc1", by_head.mean(-1)))))
        v = F.gelu(small.linear(self.p, s + "fc_in", small.norm(self.p, s + "norm", by_head, 1e-5)))
        there = policy[:, :, None, None]
        mean = (there * v[..., d // 2 :]).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp_min(1e-6)
        v = torch.cat([v[..., : d // 2], mean.expand_as(v[..., d // 2 :])], -1)
        z = small.linear(self.p, s + "fc_out", F.gelu(small.linear(self.p, s + "fc2", F.gelu(small.linear(self.p, s + "fc1", v)))))
        share = importance / importance.sum(-1, keepdim=True)
        return (share * (z[..., 0] - z[..., 1])).sum(-1), (share * torch.softmax(z, -1)[..., 0]).sum(-1)

    def pack(self, u, drop, score, old, held):
        """The package that takes in what is dropped: row [B, 1, C], weight so far [B, 1]."""
        w = drop if self.form == "mean" else drop * score
        total, weight = (w[..., None] * u).sum(1, keepdim=True), held + w.sum(1, keepdim=True)
        if self.form == "sum":
            return old + total, weight
        some = weight.detach() > 0
        return (held[..., None] * old + total) / torch.where(some, weight, 1)[..., None], weight

    def finish(self, x, cells):
        x = self.net.norm(x[:, : self.prefix + cells])
        if self.swin:
            return self.net.head["fc"](x.mean(1)), x
        logits = self.net.head(x[:, 0])
        return ((logits + self.net.head_dist(x[:, 1])) / 2 if self.prefix == 2 else logits), x


def masked(m, pictures, noise, log):
    x, stage = m.embed(pictures), 0
    n, e = m.cells(0), m.prefix
    keep, there, held, shares = x.new_ones(IMAGES, n), x.new_ones(IMAGES, 0), x.new_zeros(IMAGES, 1), []
    for i in range(sum(m.sizes["depths"])):
        if m.place(i)[0] != stage:
            stage = m.place(i)[0]
            x, n = m.enter(stage, x), m.cells(stage)
            keep = x.new_ones(IMAGES, n)
        if i in m.at:
            t, u = m.at.index(i), x[:, e : e + n]
            a, score = m.selector(t, x[:, e:], torch.cat([keep, there], 1))
            a, score = a[:, :n], score[:, :n]
            soft = torch.sigmoid(a + noise[t])
            assert (soft - 0.5).abs().min() > 1e-4, "a decision that rounding could turn"
            after = keep * ((soft >= 0.5).double() - soft.detach() + soft)
            if m.form != "none":
                old = x[:, e + n :] if there.shape[1] else torch.zeros_like(x[:, :1])
                row, held = m.pack(u, keep - after, score, old, held)
                x = torch.cat([x[:, : e + n], row], 1)
                there = ((held.detach() > 0) | (m.empty == "keep_zero")).double()
                log[f"package{t}"] = row
            keep = after
            shares.append(keep.mean(1))
            log[f"a{t}"], log[f"score{t}"], log[f"keep{t}"] = a, score, keep
        policy = torch.cat([x.new_ones(IMAGES, e), keep, there], 1)
        new = m.run(i, x, m.bias(i, x.shape[1]), policy)
        x = policy[..., None] * new + (1 - policy[..., None]) * x
    return *m.finish(x, n), keep, shares


def remove(m, picture, rule, kept_log):
    """One picture: blocks are given living rows alone."""
    x, stage = m.embed(picture), 0
    n, e, held, there = m.cells(0), m.prefix, x.new_zeros(1, 1), False
    alive = torch.arange(n)
    for i in range(sum(m.sizes["depths"])):
        if m.place(i)[0] != stage:
            stage = m.place(i)[0]
            x, n = m.enter(stage, x), m.cells(stage)
            alive = torch.arange(n)
        if i in m.at:
            t = m.at.index(i)
            rows = torch.cat([e + alive, torch.tensor([e + n] if there else [], dtype=torch.long)])
            a, score = m.selector(t, x[:, rows], torch.ones(1, len(rows)))
            keep = rule(t, a[0, : len(alive)])
            if m.form != "none":
                old = x[:, e + n :] if x.shape[1] > e + n else torch.zeros_like(x[:, :1])
                row, held = m.pack(x[:, e + alive], (~keep).double()[None], score[:, : len(alive)], old, held)
                x, there = torch.cat([x[:, : e + n], row], 1), bool(held > 0) or m.empty == "keep_zero"
            alive = alive[keep]
            kept_log[t].append(len(alive))
        rows = torch.cat([torch.arange(e), e + alive, torch.tensor([e + n] if there else [], dtype=torch.long)])
        if len(rows):
            x = x.clone()
            x[:, rows] = m.run(i, x[:, rows], m.bias(i, x.shape[1])[:, rows][:, :, rows], None)
    return m.finish(x, n)[0]


def dense(m, pictures):
    x, stage = m.embed(pictures), 0
    for i in range(sum(m.sizes["depths"])):
        if m.place(i)[0] != stage:
            stage = m.place(i)[0]
            x = m.enter(stage, x)
        x = m.run(i, x, m.bias(i, x.shape[1]), None)
    logits, tokens = m.finish(x, m.cells(stage))
    assert (logits - m.net(pictures)).abs().max() < 1e-12
    return logits, tokens


def by_count(counts):
    def rule(t, a):
        ranked = a.argsort(descending=True)
        if len(a) > counts[t]:
            assert a[ranked[counts[t] - 1]] - a[ranked[counts[t]]] > 1e-6, "scores too close"
        keep = torch.zeros(len(a), dtype=torch.bool)
        keep[ranked[: counts[t]]] = True
        return keep

    return rule


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    target = torch.full((IMAGES, CLASSES), 0.1 / CLASSES)
    target[range(IMAGES), [b % CLASSES for b in range(IMAGES)]] += 0.9
    for name, case in CASES.items():
        sizes, prefix, at, ratios, _, _ = case
        side, m, teacher, log = sizes["side"], Model(case, ""), Model(case, "teacher/"), {}
        pictures = torch.from_numpy(np.stack([small.both(f"picture{b}", 3 * side * side).reshape(3, side, side) for b in range(IMAGES)]))
        patches = [m.cells(m.place(i)[0]) for i in at]
        noise = []
        for t, n in enumerate(patches):
            u = np.stack([small.unit(f"noise{t}{b}", n) for b in range(IMAGES)]) * (1 - 2e-6) + 1e-6
            noise.append(torch.from_numpy(np.log(u / (1 - u))))
        noise[0][0], noise[0][2], noise[-1][1] = 50, -50, -50
        with torch.no_grad():
            t_logits, t_tokens = dense(teacher, pictures)
        logits, tokens, keep, shares = masked(m, pictures, noise, log)
        kept = keep.detach()[..., None]
        off = kept * (tokens[:, prefix:] - t_tokens[:, prefix:]) ** 2
        terms = {
            "cls": -(target * F.log_softmax(logits, -1)).sum(-1).mean(),
            "kl": F.kl_div(F.log_softmax(logits, -1), F.log_softmax(t_logits, -1), log_target=True, reduction="batchmean"),
            "token": off.sum() / (kept.sum() * tokens.shape[-1]).clamp_min(1),
        }
        total = terms["cls"] + 0.5 * terms["kl"] + 0.5 * terms["token"]
        for share, goal in zip(shares, ratios):
            total = total + (share.mean() - goal) ** 2
        total.backward()
        for key, value in {**log, "logits": logits, "teacher_logits": t_logits, "loss": total, **{"loss_" + k: v for k, v in terms.items()}}.items():
            put(f"{name}/{key}", value)
        for key, v in m.p.items():
            g = v.grad.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * small.both("along/" + key, len(g))).sum()])
        thresholds = [small.middle_of_gap(torch.sigmoid(log[f"a{t}"])) for t in range(len(at))]
        put(f"{name}/thresholds", thresholds)
        with torch.no_grad():
            for rule_name, rule in (("topk", by_count([int(n * k + 1e-9) for n, k in zip(patches, ratios)])), ("threshold", small.by_threshold(thresholds))):
                counts = [[] for _ in at]
                put(f"{name}/{rule_name}_logits", torch.cat([remove(m, picture[None], rule, counts) for picture in pictures]))
                put(f"{name}/{rule_name}_kept", counts)
        print(name, "shares", [[f"{v:.2f}" for v in s.tolist()] for s in shares], {k: f"{v.item():.5f}" for k, v in terms.items()}, f"total {total.item():.6f}")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "spvit_stages.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
