"""Embeddings of the batches before, with their labels."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.checks import at_least
from ssl_dml.types import LabeledEmbeddings


@final
class CrossBatchMemory(nn.Module):
    """The last ``size`` embeddings and their labels, oldest overwritten first.

    Slots that are not yet filled have the label -1, which is compared with nothing.

    Args:
        size: Rows held, above 0.
        dim: Dimension of a row.

    Raises:
        ValueError: If ``size`` is not positive.

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
        """A copy of what is held, which later steps do not change."""
        return LabeledEmbeddings(self.embeddings.clone(), self.labels.clone())

    @torch.no_grad()
    def enqueue(
        self, embeddings: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]
    ) -> None:
        """Overwrite the oldest rows; any number is allowed. Every process gives the same."""
        size = len(self.labels)
        slots = (self.pointer + torch.arange(len(labels), device=labels.device)) % size
        self.embeddings[slots[-size:]] = embeddings[-size:].to(self.embeddings.dtype)
        self.labels[slots[-size:]] = labels[-size:]
        self.pointer.add_(len(labels)).remainder_(size)
