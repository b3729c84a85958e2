"""Embeddings and labels of earlier batches."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.checks import at_least
from ssl_dml.types import LabeledEmbeddings


@final
class CrossBatchMemory(nn.Module):
    """The last ``size`` embeddings with their labels; new ones overwrite the oldest.

    Slots that are not filled yet have the label -1. Losses and miners ignore such rows.

    >>> import torch
    >>> from ssl_dml.memory import CrossBatchMemory
    >>> memory = CrossBatchMemory(3, 2)
    >>> memory.enqueue(torch.ones(2, 2), torch.tensor([7, 8]))
    >>> memory.rows().labels
    tensor([ 7,  8, -1])
    >>> memory.enqueue(torch.ones(2, 2), torch.tensor([9, 5]))
    >>> memory.rows().labels
    tensor([5, 8, 9])

    Args:
        size: Number of rows, at least 1.
        dim: Dimension of a row.

    Raises:
        ValueError: If ``size`` is below 1.

    References:
        Wang et al., 2020, arXiv:1912.06798.
    """

    embeddings: Tensor
    labels: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        at_least(1, size=size)
        self.register_buffer("embeddings", torch.zeros(size, dim))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def rows(self) -> LabeledEmbeddings:
        """Copy all rows and labels, so that later steps do not change them."""
        return LabeledEmbeddings(self.embeddings.clone(), self.labels.clone())

    @torch.no_grad()
    def enqueue(
        self, embeddings: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]
    ) -> None:
        """Overwrite the oldest rows by any number of new ones, the same on every process."""
        size = len(self.labels)
        slots = (self.pointer + torch.arange(len(labels), device=labels.device)) % size
        self.embeddings[slots[-size:]] = embeddings[-size:].to(self.embeddings.dtype)
        self.labels[slots[-size:]] = labels[-size:]
        self.pointer.add_(len(labels)).remainder_(size)
