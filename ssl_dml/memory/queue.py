"""The newest keys."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

CHUNK = 8192


@final
class Queue(nn.Module):
    """The last ``size`` keys, oldest overwritten first (He et al., 2020, arXiv:1911.05722).

    Until as many have been enqueued the rest holds random unit vectors.

    Args:
        size: Number of keys held, at least a batch.
        dim: Dimension of a key.
        batch_size: Keys that arrive at once; a smaller queue would lose some unseen.

    Raises:
        ValueError: If the queue is smaller than a batch.
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int, *, batch_size: int) -> None:
        super().__init__()
        if size < batch_size:
            raise ValueError(f"queue_size must be at least the batch, {batch_size}; got {size}")
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "batch dim"]) -> None:
        """Overwrite the oldest keys, wrapping at the end; any number is allowed."""
        size = len(self.keys)
        slots = (self.pointer + torch.arange(len(keys), device=keys.device)) % size
        self.keys[slots[-size:]] = keys[-size:].to(self.keys.dtype)
        self.pointer.add_(len(keys)).remainder_(size)

    @torch.no_grad()
    def nearest(self, rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """The key of the largest inner product with each row."""
        parts = [(rows.to(keys.dtype) @ keys.T).max(dim=1) for keys in self.keys.split(CHUNK)]
        best = torch.stack([part.values for part in parts]).argmax(dim=0)
        inside = torch.stack([part.indices for part in parts])
        return self.keys[best * CHUNK + inside.gather(0, best[None])[0]]
