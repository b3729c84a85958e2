"""Causal networks over sequences and grids: each context depends on what came before only."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.checks import at_least


@final
class RecurrentContext(nn.Module):
    """A GRU, whose output at each time step is the context of that step.

    >>> RecurrentContext(8, 16, layers=1)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 16])

    Args:
        in_dim: Dimension of a latent.
        dim: Dimension of a context.
        layers: Number of layers.
    """

    def __init__(self, in_dim: int, dim: int, *, layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(in_dim, dim, layers, batch_first=True)

    def forward(self, latents: Float[Tensor, "batch time in"]) -> Float[Tensor, "batch time out"]:
        """Return the contexts; the one of time t depends on the latents up to t."""
        return self.gru(latents)[0]


@final
class CausalTransformer(nn.Module):
    """Pre-norm transformer with causal attention, for sequences of any length.

    Positions are relative (rotary: Su et al., 2021, arXiv:2104.09864), so the length may differ
    from that in training.

    >>> CausalTransformer(8, 16, layers=2, heads=4)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 16])

    Args:
        in_dim: Dimension of a latent.
        dim: Dimension of a context; a multiple of twice ``heads``.
        layers: Number of layers.
        heads: Number of attention heads of each layer.
    """

    def __init__(self, in_dim: int, dim: int, *, layers: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim % (2 * heads):
            raise ValueError(
                f"backbone: context_dim must be a multiple of twice heads, got {dim} for {heads}"
            )
        self.widen = nn.Linear(in_dim, dim)
        self.layers = nn.Sequential(*(_Layer(dim, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(dim)

    def forward(self, latents: Float[Tensor, "batch time in"]) -> Float[Tensor, "batch time out"]:
        """Return the contexts; the one of time t depends on the latents up to t."""
        return self.norm(self.layers(self.widen(latents)))


@final
class _Layer(nn.Module):
    """Attention, then a perceptron at each time step, both with a residual connection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.inward, self.outward = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        parts = self.inward(self.norm(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(rotate(query), rotate(key), value, is_causal=True)
        x = x + self.outward(seen.transpose(1, 2).flatten(2))
        return x + self.perceptron(x)


def rotate(x: Float[Tensor, "batch heads time dim"]) -> Float[Tensor, "batch heads time dim"]:
    """Rotary position embedding: rotate pairs of channels by angles proportional to time.

    The product of a rotated query and a rotated key then depends on the time between them.
    """
    half = x.shape[3] // 2
    wide = torch.promote_types(x.dtype, torch.float32)
    frequencies = 10000 ** (-torch.arange(half, device=x.device, dtype=wide) / half)
    angles = torch.arange(x.shape[2], device=x.device)[:, None] * frequencies
    a, b = x.chunk(2, dim=3)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=3).to(x.dtype)


@final
class GridContext(nn.Module):
    """Convolutions over a grid of patches that never look at the rows below.

    After n blocks the context of cell (i, j) depends on rows i - n to i and columns j - n to
    j + n, and on no row below i. Kernels end at their own row, so they need no mask. Every norm
    is over the channels of one cell, so it leaks nothing.

    >>> GridContext(8, hidden_dim=4, blocks=2)(torch.zeros(2, 7, 7, 8)).shape
    torch.Size([2, 7, 7, 8])

    Args:
        dim: Dimension of a latent and of a context.
        hidden_dim: Channels within a block; 256 in the paper.
        blocks: Number of residual blocks; 5 in the paper.

    References:
        Hénaff et al., 2019, arXiv:1905.09272, appendix, here with layer norm in each block.
    """

    def __init__(self, dim: int, *, hidden_dim: int, blocks: int) -> None:
        super().__init__()
        at_least(1, "method", context_blocks=blocks)
        self.blocks = nn.Sequential(*(_Block(dim, hidden_dim) for _ in range(blocks)))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, grid: Float[Tensor, "batch rows cols dim"]
    ) -> Float[Tensor, "batch rows cols dim"]:
        """Return the contexts; those of row i depend on rows up to i."""
        return self.norm(self.blocks(grid))


@final
class _Block(nn.Module):
    """Mix within a row, then with the row above, between 1×1 convolutions; residual."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.steps = nn.Sequential(
            nn.Conv2d(dim, hidden_dim, 1),
            nn.ReLU(),
            nn.Conv2d(hidden_dim, hidden_dim, (1, 3), padding=(0, 1)),
            nn.ZeroPad2d((0, 0, 1, 0)),
            nn.Conv2d(hidden_dim, hidden_dim, (2, 1)),
            nn.ReLU(),
            nn.Conv2d(hidden_dim, dim, 1),
        )

    def forward(
        self, grid: Float[Tensor, "batch rows cols dim"]
    ) -> Float[Tensor, "batch rows cols dim"]:
        return grid + self.steps(self.norm(grid).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
