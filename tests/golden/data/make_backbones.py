#!/usr/bin/env python3
"""Writes backbones.txt beside this file: one step of small PiT, ConvNeXt, Swin and LV-ViT models in float64 PyTorch, written from the papers
and the definitions in spec backbones 4-7: logits, loss and every gradient. Made with torch 2.13.0, numpy 2.

    python3 tests/golden/data/make_backbones.py

Used by tests/golden/backbones.c. Weights, pictures and targets are the hashes of make_spvit_small.py, gradients its two numbers. A module's
parameter names are timm's (LV-ViT: its authors'), so that names and shapes are held against ours as well.
"""
import os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import make_spvit_small as small

torch.set_default_dtype(torch.float64)
IMAGES, CLASSES = small.IMAGES, small.CLASSES


class Block(nn.Module):
    """x += attention(norm1 x) / skip; x += mlp(norm2 x) / skip."""

    def __init__(self, width, heads, ratio, eps, qkv_bias=True, skip=1.0):
        super().__init__()
        self.heads, self.skip = heads, skip
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width, qkv_bias), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, ratio * width), "fc2": nn.Linear(ratio * width, width)})

    def attention(self, x):
        b, n, c = x.shape
        q, k, v = self.attn["qkv"](x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        p = ((q * (c // self.heads) ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        return self.attn["proj"]((p @ v).transpose(1, 2).reshape(b, n, c))

    def feed(self, x):
        return self.mlp["fc2"](F.gelu(self.mlp["fc1"](x)))

    def forward(self, x):
        x = x + self.attention(self.norm1(x)) / self.skip
        return x + self.feed(self.norm2(x)) / self.skip


# ---- PiT (Heo et al. 2021) -------------------------------------------------------------------------------------------


class PitPool(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, 2 * width, 3, 2, 1, groups=width)
        self.fc = nn.Linear(width, 2 * width)


class Pit(nn.Module):
    def __init__(self, image, patch, stride, widths, depths, heads, ratio, distilled):
        super().__init__()
        grid, self.prefix = (image - patch) // stride + 1, 2 if distilled else 1
        self.pos_embed = nn.Parameter(torch.zeros(1, widths[0], grid, grid))
        self.cls_token = nn.Parameter(torch.zeros(1, self.prefix, widths[0]))
        self.patch_embed = nn.ModuleDict({"conv": nn.Conv2d(3, widths[0], patch, stride)})
        self.transformers = nn.ModuleList()
        for s, (width, depth, count) in enumerate(zip(widths, depths, heads)):
            stage = nn.ModuleDict({"blocks": nn.ModuleList(Block(width, count, ratio, 1e-6) for _ in range(depth))})
            if s:
                stage["pool"] = PitPool(widths[s - 1])
            self.transformers.append(stage)
        self.norm = nn.LayerNorm(widths[-1], 1e-6)
        self.head = nn.Linear(widths[-1], CLASSES)
        if distilled:
            self.head_dist = nn.Linear(widths[-1], CLASSES)

    def forward(self, x):
        x = self.patch_embed["conv"](x) + self.pos_embed
        tokens = self.cls_token.expand(len(x), -1, -1)
        for stage in self.transformers:
            if "pool" in stage:
                x, tokens = stage["pool"].conv(x), stage["pool"].fc(tokens)
            b, c, h, w = x.shape
            rows = torch.cat([tokens, x.flatten(2).transpose(1, 2)], 1)
            for block in stage["blocks"]:
                rows = block(rows)
            tokens, x = rows[:, : self.prefix], rows[:, self.prefix :].transpose(1, 2).reshape(b, c, h, w)
        tokens = self.norm(tokens)
        if self.prefix == 1:
            return self.head(tokens[:, 0])
        return (self.head(tokens[:, 0]) + self.head_dist(tokens[:, 1])) / 2


# ---- ConvNeXt (Liu et al. 2022) --------------------------------------------------------------------------------------


class PlaneNorm(nn.LayerNorm):
    """LayerNorm over the channels of planes."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        y = self.gamma * self.mlp["fc2"](F.gelu(self.mlp["fc1"](y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    def __init__(self, widths, depths):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), PlaneNorm(widths[0], 1e-6))
        self.stages = nn.ModuleList()
        for s, (width, depth) in enumerate(zip(widths, depths)):
            stage = nn.ModuleDict({"blocks": nn.ModuleList(NextBlock(width) for _ in range(depth))})
            if s:
                stage["downsample"] = nn.Sequential(PlaneNorm(widths[s - 1], 1e-6), nn.Conv2d(widths[s - 1], width, 2, 2))
            self.stages.append(stage)
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(widths[-1], 1e-6), "fc": nn.Linear(widths[-1], CLASSES)})

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            if "downsample" in stage:
                x = stage["downsample"](x)
            for block in stage["blocks"]:
                x = block(x)
        return self.head["fc"](self.head["norm"](x.mean((2, 3))))


# ---- Swin (Liu et al. 2021) ------------------------------------------------------------------------------------------


def partition(x, w):
    b, h, v, c = x.shape
    return x.view(b, h // w, w, v // w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, c)


class SwinBlock(Block):
    def __init__(self, width, heads, ratio, grid, window, shift):
        super().__init__(width, heads, ratio, 1e-5)
        if grid <= window:
            window, shift = grid, 0
        self.grid, self.window, self.shift = grid, window, shift
        self.attn.register_parameter("relative_position_bias_table", nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads)))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = at[:, :, None] - at[:, None, :] + window - 1
        self.index = apart[0] * (2 * window - 1) + apart[1]
        label = torch.zeros(1, grid, grid, 1)
        bands = (slice(0, -window), slice(-window, -shift), slice(-shift, None)) if shift else (slice(None),)
        for r, rows in enumerate(bands):
            for c, columns in enumerate(bands):
                label[:, rows, columns] = 3 * r + c
        label = partition(label, window)[..., 0]
        self.mask = (label[:, None] != label[:, :, None]) * -100.0

    def attention(self, x):
        b, n, c = x.shape
        g, w, d = self.grid, self.window, c // self.heads
        x = partition(x.view(b, g, g, c).roll((-self.shift, -self.shift), (1, 2)), w)
        q, k, v = self.attn["qkv"](x).view(-1, w * w, 3, self.heads, d).permute(2, 0, 3, 1, 4)
        a = (q * d**-0.5) @ k.transpose(-1, -2) + self.attn.relative_position_bias_table[self.index].permute(2, 0, 1)
        a = a.view(b, -1, self.heads, w * w, w * w) + self.mask[None, :, None]
        x = (a.softmax(-1).flatten(0, 1) @ v).transpose(1, 2).reshape(-1, w * w, c)
        x = self.attn["proj"](x).view(b, g // w, g // w, w, w, c).permute(0, 1, 3, 2, 4, 5).reshape(b, g, g, c)
        return x.roll((self.shift, self.shift), (1, 2)).view(b, n, c)


class Merging(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * width, 1e-5), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        b, n, c = x.shape
        x = x.view(b, int(n**0.5), int(n**0.5), c)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.reduction(self.norm(x.view(b, n // 4, 4 * c)))


class Swin(nn.Module):
    def __init__(self, image, width, depths, heads, window, ratio):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 4, 4), "norm": nn.LayerNorm(width, 1e-5)})
        self.layers = nn.ModuleList()
        for s, (depth, count) in enumerate(zip(depths, heads)):
            grid = image // 4 // 2**s
            stage = nn.ModuleDict({"blocks": nn.ModuleList(SwinBlock(width * 2**s, count, ratio, grid, window, i % 2 * (window // 2)) for i in range(depth))})
            if s:
                stage["downsample"] = Merging(width * 2 ** (s - 1))
            self.layers.append(stage)
        self.norm = nn.LayerNorm(width * 2 ** (len(depths) - 1), 1e-5)
        self.head = nn.ModuleDict({"fc": nn.Linear(width * 2 ** (len(depths) - 1), CLASSES)})

    def forward(self, x):
        x = self.patch_embed["norm"](self.patch_embed["proj"](x).flatten(2).transpose(1, 2))
        for stage in self.layers:
            if "downsample" in stage:
                x = stage["downsample"](x)
            for block in stage["blocks"]:
                x = block(x)
        return self.head["fc"](self.norm(x).mean(1))


# ---- LV-ViT (Jiang et al. 2021) --------------------------------------------------------------------------------------


class Stem(nn.Module):
    def __init__(self, stem, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = nn.Conv2d(stem, stem, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(stem)
        self.conv3 = nn.Conv2d(stem, stem, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(stem)
        self.proj = nn.Conv2d(stem, width, 8, 8)

    def forward(self, x):
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(bn(conv(x)))
        return self.proj(x)


class Lvvit(nn.Module):
    def __init__(self, image, width, depth, heads, stem, skip):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (image // 16) ** 2 + 1, width))
        self.patch_embed = Stem(stem, width)
        self.blocks = nn.ModuleList(Block(width, heads, 3, 1e-5, qkv_bias=False, skip=skip) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-5)
        self.head, self.aux_head = nn.Linear(width, CLASSES), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0]) + 0.5 * self.aux_head(x[:, 1:]).max(1)[0]


# name: side of the pictures, model
CASES = {
    "pit_test": (16, lambda: Pit(16, 4, 2, (8, 16, 32), (1, 2, 1), (1, 2, 4), 2, False)),
    "pit_test_distilled": (16, lambda: Pit(16, 4, 2, (8, 16, 32), (1, 2, 1), (1, 2, 4), 2, True)),
    "convnext_test": (32, lambda: ConvNext((8, 16, 24), (1, 2, 1))),
    "swin_test": (32, lambda: Swin(32, 8, (2, 2, 1), (1, 2, 4), 2, 2)),
    "lvvit_test": (32, lambda: Lvvit(32, 16, 2, 2, 4, 2.0)),
}


def weight(name, shape):
    """As fill_weights of test_hashed.h."""
    v = small.both(name, int(np.prod(shape)))
    if "running_var" in name or (len(shape) == 1 and "norm" in name and name.endswith(".weight")):
        v = 1 + 0.2 * v
    else:
        v = v * (0.1 if len(shape) == 1 else 0.5 if len(shape) == 3 else (3 / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy(v.reshape(shape))


def main():
    lines = []

    def put(name, values):
        values = np.asarray(values.detach() if torch.is_tensor(values) else values, np.float64).ravel()
        lines.append(" ".join([name, *(f"{v:.14g}" for v in values)]))

    target = torch.full((IMAGES, CLASSES), 0.1 / CLASSES)
    target[range(IMAGES), [b % CLASSES for b in range(IMAGES)]] += 0.9
    for name, (side, make) in CASES.items():
        pictures = torch.from_numpy(np.stack([small.both(f"picture{b}", 3 * side * side).reshape(3, side, side) for b in range(IMAGES)]))
        model = make().eval()
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    value.copy_(weight(key, value.shape))
        logits = model(pictures)
        loss = -(target * F.log_softmax(logits, -1)).sum(-1).mean()
        loss.backward()
        put(f"{name}/parameters", [len(list(model.parameters())), sum(p.numel() for p in model.parameters())])
        put(f"{name}/logits", logits)
        put(f"{name}/loss", loss)
        for key, p in model.named_parameters():
            g = p.grad.numpy().ravel()
            put(f"{name}/grad/{key}", [np.sqrt((g * g).sum()), (g * small.both("along/" + key, len(g))).sum()])
        print(name, f"loss {loss.item():.6f}")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "backbones.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
