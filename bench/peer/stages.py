"""Swin-T, ConvNeXt-T, PiT-S and LV-ViT-S as a PyTorch user writes them: dense work alone, for the peers to do. Convolutions between channels that are
neighbours run in PyTorch's channels-last layout, which is the quicker one there too."""
import torch
import torch.nn.functional as F
from torch import nn


class Mlp(nn.Module):
    def __init__(self, width, ratio=4):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


# ---- ConvNeXt --------------------------------------------------------------------------------------------------------


class NextBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm, self.mlp = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width, 1e-6), Mlp(width)
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x):
        h = self.conv(x).permute(0, 2, 3, 1)
        return x + (self.gamma * self.mlp(self.norm(h))).permute(0, 3, 1, 2)


class NormConv(nn.Module):
    """A norm over channels, then 2 x 2 places into one."""

    def __init__(self, width, wider):
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(width, 1e-6), nn.Conv2d(width, wider, 2, stride=2)

    def forward(self, x):
        return self.conv(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class ConvNeXt(nn.Module):
    def __init__(self, widths=(96, 192, 384, 768), depths=(3, 3, 9, 3), classes=1000):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, widths[0], 4, stride=4), nn.LayerNorm(widths[0], 1e-6)
        steps = []
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            steps += [NormConv(widths[stage - 1], width)] if stage else []
            steps += [NextBlock(width) for _ in range(depth)]
        self.steps = nn.Sequential(*steps)
        self.norm, self.head = nn.LayerNorm(widths[-1], 1e-6), nn.Linear(widths[-1], classes)

    def forward(self, pictures):
        x = self.stem(pictures.contiguous(memory_format=torch.channels_last))
        x = self.stem_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(self.norm(self.steps(x).mean((2, 3))))


# ---- Swin ------------------------------------------------------------------------------------------------------------


class WindowAttention(nn.Module):
    def __init__(self, width, heads, side, window, shift):
        super().__init__()
        self.heads, self.side, self.window, self.shift = heads, side, window, shift
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(0.02 * torch.randn((2 * window - 1) ** 2, heads))
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        away = place[:, :, None] - place[:, None] + window - 1
        self.register_buffer("index", away[0] * (2 * window - 1) + away[1])
        self.register_buffer("mask", self.bands() if shift else None)

    def bands(self):
        along = torch.zeros(self.side, dtype=torch.long)
        along[-self.window:-self.shift], along[-self.shift:] = 1, 2
        label = self.cut((3 * along[:, None] + along[None])[None, :, :, None].float()).squeeze(2)
        return -100.0 * (label[:, None] != label[:, :, None]).float()

    def cut(self, x):
        batch, _, _, width = x.shape
        count = self.side // self.window
        return x.view(batch, count, self.window, count, self.window, width).transpose(2, 3).reshape(-1, self.window ** 2, width)

    def forward(self, x):
        batch, _, _, width = x.shape
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        qkv = self.qkv(self.cut(x))
        q, k, v = qkv.view(-1, self.window ** 2, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index].permute(2, 0, 1)[None]
        if self.mask is not None:
            bias = (bias + self.mask[:, None]).repeat(batch, 1, 1, 1)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype).expand(q.shape[0], -1, -1, -1))
        x = self.proj(x.transpose(1, 2).flatten(2))
        count = self.side // self.window
        x = x.view(batch, count, count, self.window, self.window, width).transpose(2, 3).reshape(batch, self.side, self.side, width)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class SwinBlock(nn.Module):
    def __init__(self, width, heads, side, window, shift):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = WindowAttention(width, heads, side, window, shift), Mlp(width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Merging(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(parts, 3)))


class Swin(nn.Module):
    def __init__(self, widths=(96, 192, 384, 768), heads=(3, 6, 12, 24), depths=(2, 2, 6, 2), window=7, classes=1000):
        super().__init__()
        self.patches, self.patch_norm = nn.Conv2d(3, widths[0], 4, stride=4), nn.LayerNorm(widths[0])
        steps = []
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            side = 56 >> stage
            steps += [Merging(widths[stage - 1])] if stage else []
            steps += [SwinBlock(width, heads[stage], side, window, window // 2 if i % 2 and side > window else 0) for i in range(depth)]
        self.steps = nn.Sequential(*steps)
        self.norm, self.head = nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], classes)

    def forward(self, pictures):
        x = self.patch_norm(self.patches(pictures).permute(0, 2, 3, 1))
        return self.head(self.norm(self.steps(x)).mean((1, 2)))


# ---- PiT, LV-ViT -----------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, width, heads, ratio=4, bias=True, scale=1.0):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.proj, self.mlp = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width), Mlp(width, ratio)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.proj(h) * self.scale
        return x + self.mlp(self.norm2(x)) * self.scale


class Pooling(nn.Module):
    def __init__(self, width, side):
        super().__init__()
        self.side, self.fc = side, nn.Linear(width, 2 * width)
        self.conv = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, groups=width)

    def forward(self, x):
        grid = x[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        return torch.cat([self.fc(x[:, :1]), self.conv(grid).flatten(2).transpose(1, 2)], 1)


class PiT(nn.Module):
    def __init__(self, widths=(144, 288, 576), heads=(3, 6, 12), depths=(2, 6, 4), classes=1000):
        super().__init__()
        self.patches = nn.Conv2d(3, widths[0], 16, stride=8)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, widths[0])), nn.Parameter(0.02 * torch.randn(1, widths[0], 27, 27))
        steps = []
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            steps += [Pooling(widths[stage - 1], 27 if stage == 1 else 14)] if stage else []
            steps += [Block(width, heads[stage]) for _ in range(depth)]
        self.steps = nn.Sequential(*steps)
        self.norm, self.head = nn.LayerNorm(widths[-1], 1e-6), nn.Linear(widths[-1], classes)

    def forward(self, pictures):
        x = (self.patches(pictures) + self.positions).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1).to(x.dtype), x], 1)
        return self.head(self.norm(self.steps(x)[:, 0]))


class LvVit(nn.Module):
    """The stem: 7 x 7 of stride 2, two of 3 x 3, each with a batch norm that stands still, then 8 x 8 patches. The answer takes half the largest of
    the patches' head."""

    def __init__(self, width=384, heads=6, depth=16, inner=64, classes=1000):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, inner, 7, 2, 3, bias=False), nn.Conv2d(inner, inner, 3, 1, 1, bias=False),
                                    nn.Conv2d(inner, inner, 3, 1, 1, bias=False)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(inner) for _ in range(3)])
        self.proj = nn.Conv2d(inner, width, 8, stride=8)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(0.02 * torch.randn(1, 197, width))
        self.blocks = nn.Sequential(*[Block(width, heads, 3, False, 0.5) for _ in range(depth)])
        self.norm, self.head, self.aux_head = nn.LayerNorm(width, 1e-5), nn.Linear(width, classes), nn.Linear(width, classes)

    def train(self, mode=True):
        super().train(mode)
        for norm in self.norms:
            norm.eval()
        return self

    def forward(self, pictures):
        x = pictures
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1).to(x.dtype), x], 1) + self.positions
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0]) + 0.5 * self.aux_head(x[:, 1:]).amax(1)


MODELS = {"convnext_t": ConvNeXt, "swin_t": Swin, "pit_s": PiT, "lvvit_s": LvVit}
