"""A queue of the newest keys."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

CHUNK = 8192


@final
class Queue(nn.Module):
    """The last ``size`` keys; new ones overwrite the oldest.

    Slots that are not filled yet hold random unit vectors.

    >>> import torch
    >>> from ssl_dml.memory import Queue
    >>> queue = Queue(3, 2, batch_size=2)
    >>> queue.enqueue(torch.zeros(2, 2))
    >>> queue.enqueue(torch.ones(2, 2))
    >>> queue.keys
    tensor([[1., 1.],
            [0., 0.],
            [1., 1.]])

    Args:
        size: Number of keys, at least a batch.
        dim: Dimension of a key.
        batch_size: Number of keys that are enqueued at once. A smaller queue would overwrite
            some before they are used.

    Raises:
        ValueError: If the queue is smaller than a batch.

    References:
        He et al., 2020, arXiv:1911.05722.
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
        """Overwrite the oldest keys by any number of new ones."""
        size = len(self.keys)
        slots = (self.pointer + torch.arange(len(keys), device=keys.device)) % size
        self.keys[slots[-size:]] = keys[-size:].to(self.keys.dtype)
        self.pointer.add_(len(keys)).remainder_(size)

    @torch.no_grad()
    def nearest(self, rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """For each row, the key with the largest inner product."""
        parts = [(rows.to(keys.dtype) @ keys.T).max(dim=1) for keys in self.keys.split(CHUNK)]
        best = torch.stack([part.values for part in parts]).argmax(dim=0)
        inside = torch.stack([part.indices for part in parts])
        return self.keys[best * CHUNK + inside.gather(0, best[None])[0]]
