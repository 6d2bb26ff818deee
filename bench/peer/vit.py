"""DeiT, dense and with SPViT selectors, as a PyTorch user writes it: the work that `bench` does, for the peers to do."""
import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = {"deit_t": 192, "deit_s": 384, "deit_b": 768}
PLACES, KEEP = (3, 6, 9), (0.7, 0.49, 0.343)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.heads = width // 64
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x, seen):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, 64).permute(2, 0, 3, 1, 4).unbind(0)
        if seen is None:
            out = F.scaled_dot_product_attention(q, k, v)
        else:  # softmax over the tokens that are seen, and oneself (SPViT, DynamicViT)
            scores = (q @ k.transpose(2, 3)) / 8.0
            own = torch.eye(tokens, dtype=seen.dtype, device=seen.device)
            mask = torch.maximum(seen[:, None, None, :], own)
            weights = torch.exp((scores - scores.amax(3, keepdim=True)).float()) * mask.float()
            weights = (weights + 1e-6 / tokens) / (weights.sum(3, keepdim=True) + 1e-6)
            out = weights.to(v.dtype) @ v
        return self.proj(out.transpose(1, 2).flatten(2))

    def forward(self, x, seen=None):
        x = x + self.attention(self.norm1(x), seen)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Selector(nn.Module):
    """Keep and drop scores of each token: by head, heads weighed by their importance."""

    def __init__(self, width):
        super().__init__()
        self.heads = width // 64
        self.norm, self.fc_in = nn.LayerNorm(64), nn.Linear(64, 64)
        self.fc1, self.fc2, self.fc_out = nn.Linear(64, 32), nn.Linear(32, 16), nn.Linear(16, 2)
        self.head_fc1, self.head_fc2 = nn.Linear(self.heads, self.heads), nn.Linear(self.heads, self.heads)

    def forward(self, x, alive):
        x = x.unflatten(2, (self.heads, 64))
        importance = torch.sigmoid(self.head_fc2(F.relu(self.head_fc1(x.mean(3)))))
        hidden = F.gelu(self.fc_in(self.norm(x)))
        weight = alive[:, :, None, None]
        mean = (hidden[..., 32:] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-6)
        hidden = torch.cat([hidden[..., :32], mean.expand(-1, x.shape[1], -1, -1)], 3)
        scores = self.fc_out(F.gelu(self.fc2(F.gelu(self.fc1(hidden))))).float().softmax(3)
        return (scores * importance.unsqueeze(3)).sum(2) / importance.sum(2).unsqueeze(2)


class DeiT(nn.Module):
    def __init__(self, name, selectors=False, classes=1000):
        super().__init__()
        width = WIDTHS[name]
        self.patches = nn.Conv2d(3, width, 16, stride=16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 197, width))
        self.blocks = nn.ModuleList([Block(width) for _ in range(12)])
        self.selectors = nn.ModuleList([Selector(width) for _ in PLACES] if selectors else [])
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, classes)

    def embed(self, pictures):
        x = self.patches(pictures).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], 1, x.shape[2]).to(x.dtype), x], 1)
        return x + self.positions.to(x.dtype)

    def forward(self, pictures):
        x = self.embed(pictures)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0]), x[:, 1:]

    def masked(self, pictures):
        """Training: all tokens stay, dropped ones are not seen; each stage appends what it drops as one package token."""
        x, masks = self.embed(pictures), []
        batch, alive = x.shape[0], x.new_ones(x.shape[0], 196)
        for i, block in enumerate(self.blocks):
            if i in PLACES:
                tokens = x[:, 1:197]
                scores = self.selectors[len(masks)](tokens, alive)
                kept = F.gumbel_softmax(torch.log(scores + 1e-8), hard=True)[..., 0].to(x.dtype) * alive
                weight = (alive - kept) * scores[..., 0].to(x.dtype)
                package = torch.einsum("bn,bnc->bc", weight, tokens) / weight.sum(1, keepdim=True).clamp(min=1e-6)
                x, alive = torch.cat([x, package[:, None]], 1), kept
                masks.append(kept)
            ones = alive.new_ones(batch, 1)
            x = block(x, torch.cat([ones, alive] + [ones] * len(masks), 1) if masks else None)
        x = self.norm(x)
        return self.head(x[:, 0]), x[:, 1:197], masks

    def pruned(self, pictures):
        """Inference: the best tokens stay, the others become a package token and leave."""
        x, stage, count = self.embed(pictures), 0, 196
        for i, block in enumerate(self.blocks):
            if i in PLACES:
                tokens, rest = x[:, 1:1 + count], x[:, 1 + count:]
                score = self.selectors[stage](tokens, tokens.new_ones(tokens.shape[0], count))[..., 0]
                count = round(196 * KEEP[stage])
                order = score.argsort(1, descending=True)
                sorted_tokens = tokens.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))
                weight = score.gather(1, order[:, count:])[:, :, None].to(x.dtype)
                package = (sorted_tokens[:, count:] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
                x, stage = torch.cat([x[:, :1], sorted_tokens[:, :count], rest, package], 1), stage + 1
            x = block(x)
        return self.head(self.norm(x)[:, 0])
