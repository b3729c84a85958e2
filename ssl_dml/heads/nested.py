"""Nested embeddings: a loss for each of several prefixes, so that each can be used alone."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import final

import torch
from torch import nn

from ssl_dml.checks import nested_dims
from ssl_dml.heads.base import Head
from ssl_dml.types import ContinuousLabels, Embeddings, Labels, StepOutput


@final
class Nested(Head):
    """The sum of the losses of a head on prefixes of the embedding (Matryoshka).

    Each prefix has a head of its own, with its own class weights, proxies or memory, which
    normalizes the prefix by itself where it compares directions. So a prefix trains as an
    embedding of that dimension would. (Sharing the class weights, MRL-E, saves memory while
    training, and does a little worse in the paper.)

    The log has ``loss_{dim}`` of each prefix, and what its head logs under the same suffix.

    >>> import torch
    >>> from ssl_dml.heads import Nested, PairHead
    >>> from ssl_dml.losses import Triplet
    >>> head = Nested(2, 2, head=lambda *sizes: PairHead(*sizes, loss=Triplet()), dims=[1, 2])
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 5.0], [1.0, 5.0]])
    >>> head(rows, torch.tensor([0, 0, 1, 1])).logs["loss_1"]  # one value tells nothing apart
    tensor(0.2000)

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of classes.
        head: Builder of the head of a prefix.
        dims: Dimensions of the prefixes, rising to ``embedding_dim``.

    Raises:
        ValueError: If ``dims`` do not rise to the dimension of an embedding.

    References:
        Kusupati et al., 2022, arXiv:2205.13147, eq. 1, with weights of 1.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        head: Callable[[int, int], Head],
        dims: Sequence[int],
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        self.dims = nested_dims(dims, embedding_dim)
        # A builder may hand the same margin or miner to all, whose state must not be shared.
        self.heads = nn.ModuleList(deepcopy(head(dim, num_classes)) for dim in self.dims)
        self.continuous = any(one.continuous for one in self.heads)

    def forward(self, embeddings: Embeddings, labels: Labels | ContinuousLabels) -> StepOutput:
        """The sum over prefixes; the log has the loss and the log of each."""
        losses, logs = [], dict[str, torch.Tensor]()
        for dim, head in zip(self.dims, self.heads, strict=True):
            loss, own = head(embeddings[:, :dim], labels)
            losses.append(loss)
            own = {"loss": loss.detach(), **own}
            logs |= {f"{name}_{dim}": value for name, value in own.items()}
        return StepOutput(torch.stack(losses).sum(), logs)
