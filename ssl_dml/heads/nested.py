"""Nested embeddings: a loss for each of several prefixes, so that each can be used alone."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Literal, final

import torch
from torch import Tensor, nn

from ssl_dml.checks import nested_dims
from ssl_dml.distributed import gather_with_gradient, rank
from ssl_dml.heads.base import Head
from ssl_dml.losses import similarity_distillation
from ssl_dml.types import ContinuousLabels, Embeddings, Labels, StepOutput

Teacher = Literal["whole"]


@final
class Nested(Head):
    """The loss of a head on the embedding, and a loss of each prefix of it, summed.

    With ``teacher`` null this is Matryoshka: each prefix has a head of its own, with its own class
    weights, proxies or memory, which normalizes the prefix by itself where it compares directions.
    So a prefix trains as an embedding of that dimension would. (Sharing the class weights, MRL-E,
    saves memory while training, and does a little worse in the paper.)

    With ``teacher: whole`` only the whole embedding has a head. Each shorter prefix learns which
    samples of the batch of all processes are near by the whole, which it does not disturb; see
    :func:`~ssl_dml.losses.similarity_distillation`. This needs no labels of the prefix, and keeps
    what the whole knows of classes that training does not see.

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
        teacher: What shorter prefixes learn from: null for labels, by heads of their own; whole
            for the whole embedding.

    Raises:
        ValueError: If ``dims`` do not rise to the dimension of an embedding.

    References:
        Kusupati et al., 2022, arXiv:2205.13147, eq. 1, with weights of 1; for the teacher, Abbasi
        Koohpayegani et al., 2020, arXiv:2010.14713.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        head: Callable[[int, int], Head],
        dims: Sequence[int],
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        self.dims, self.teacher = nested_dims(dims, embedding_dim), teacher
        taught = self.dims[-1:] if teacher == "whole" else self.dims
        # A builder may hand the same margin or miner to all, whose state must not be shared.
        self.heads = nn.ModuleList(deepcopy(head(dim, num_classes)) for dim in taught)
        self.continuous = any(one.continuous for one in self.heads)

    def forward(self, embeddings: Embeddings, labels: Labels | ContinuousLabels) -> StepOutput:
        """The sum over prefixes; the log has the loss and the log of each."""
        losses, logs = list[Tensor](), dict[str, Tensor]()
        if self.teacher == "whole":
            everyone, first = gather_with_gradient(embeddings), rank() * len(embeddings)
            for dim in self.dims[:-1]:
                pairs = embeddings[:, :dim], embeddings, everyone[:, :dim], everyone
                losses.append(similarity_distillation(*pairs, first_row=first))
                logs[f"loss_{dim}"] = losses[-1].detach()
        taught = self.dims[-len(self.heads) :]
        for dim, head in zip(taught, self.heads, strict=True):
            loss, own = head(embeddings[:, :dim], labels)
            losses.append(loss)
            own = {"loss": loss.detach(), **own}
            logs |= {f"{name}_{dim}": value for name, value in own.items()}
        return StepOutput(torch.stack(losses).sum(), logs)
