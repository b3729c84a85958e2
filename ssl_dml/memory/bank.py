"""One embedding for every instance of the data set."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


@final
class MemoryBank(nn.Module):
    """A unit vector for every instance, moved towards each new embedding of it.

    It starts with random unit vectors (Wu et al., 2018, arXiv:1805.01978, sec. 3.1; the authors'
    code starts inside the unit ball).

    Args:
        size: Number of instances.
        dim: Dimension of an embedding.
        momentum: Share of the old vector that an update keeps, in [0, 1]; 0.5 in the paper.
    """

    embeddings: Tensor

    def __init__(self, size: int, dim: int, *, momentum: float = 0.5) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"bank_momentum must be from 0 to 1, got {momentum}")
        self.momentum = momentum
        self.register_buffer("embeddings", F.normalize(torch.randn(size, dim), dim=1))

    def __len__(self) -> int:
        return len(self.embeddings)

    def rows(self, indices: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """A copy of some rows, which a later update leaves as it is."""
        return self.embeddings[indices]

    @torch.no_grad()
    def update(
        self, indices: Int[Tensor, " batch"], embeddings: Float[Tensor, "batch dim"]
    ) -> None:
        """Mix new unit vectors into the rows of distinct instances and normalise them."""
        mixed = torch.lerp(embeddings.to(self.embeddings.dtype), self.rows(indices), self.momentum)
        self.embeddings[indices] = F.normalize(mixed, dim=1)
