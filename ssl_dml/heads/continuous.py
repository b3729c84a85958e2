"""Heads for continuous labels, such as an age, an angle or a pose."""

from abc import ABC
from typing import final

import torch
from torch import Tensor

from ssl_dml import losses
from ssl_dml.checks import at_least
from ssl_dml.distributed import gather, gather_with_gradient
from ssl_dml.heads.base import Head
from ssl_dml.types import ContinuousLabels, Embeddings, StepOutput


class ContinuousHead(Head, ABC):
    """Compares distances of embeddings with distances of labels, both Euclidean.

    Embeddings keep their length. Every process computes the loss of the whole batch. A batch
    whose labels are all equal teaches nothing: its loss is 0, and ``batches_without_pairs`` in
    the log counts it.

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of different labels.
        loss: Takes the rows and labels of a whole batch.
    """

    continuous = True
    without_pairs: Tensor

    def __init__(self, embedding_dim: int, num_classes: int, loss: losses.Loss) -> None:
        super().__init__(embedding_dim, num_classes)
        self.loss = loss
        self.register_buffer("without_pairs", torch.zeros((), dtype=torch.long))

    def forward(self, embeddings: Embeddings, labels: ContinuousLabels) -> StepOutput:
        """Loss of the whole batch, on every process.

        Args:
            embeddings: Embeddings of this process.
            labels: Continuous labels of each.
        """
        rows, targets = gather_with_gradient(embeddings), gather(labels)
        loss = self.loss(rows, targets)
        if self.training:
            self.without_pairs += (targets == targets[:1]).all()
        return StepOutput(loss, {"batches_without_pairs": self.without_pairs.float()})


@final
class LogRatio(ContinuousHead):
    """Module form of :func:`ssl_dml.losses.log_ratio`.

    >>> import torch
    >>> from ssl_dml.heads import LogRatio
    >>> ages = torch.tensor([[0.0], [1.0], [3.0]])
    >>> LogRatio(1, 3)(2 * ages, ages).loss  # distances have the ratios of those of labels
    tensor(0.)

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of different labels.
        anchors: How many rows, the first of the batch, are anchors; None for all. Take 1 for
            batches that ``labels.nearest`` samples around their first row.

    Raises:
        ValueError: If ``anchors`` is below 1.

    References:
        Kim et al., 2019, arXiv:1904.09626.
    """

    def __init__(self, embedding_dim: int, num_classes: int, *, anchors: int | None = None) -> None:
        at_least(1, anchors=anchors)
        super().__init__(embedding_dim, num_classes, losses.LogRatio(anchors=anchors))


@final
class DenseTriplet(ContinuousHead):
    """Module form of :func:`ssl_dml.losses.dense_triplet`.

    >>> import torch
    >>> from ssl_dml.heads import DenseTriplet
    >>> ages = torch.tensor([[0.0], [1.0], [3.0]])
    >>> DenseTriplet(1, 3)(2 * ages, ages).loss  # nearer labels are nearer by far more than 0.2
    tensor(0.)

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of different labels.
        margin: Difference of squared distances, at least 0.
        anchors: As in :class:`LogRatio`.

    Raises:
        ValueError: If ``margin`` is negative, or ``anchors`` is below 1.

    References:
        Kim et al., 2019, arXiv:1904.09626, sec. 4.3.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: float = 0.2,
        anchors: int | None = None,
    ) -> None:
        at_least(1, anchors=anchors)
        at_least(0, margin=margin)
        loss = losses.DenseTriplet(margin=margin, anchors=anchors)
        super().__init__(embedding_dim, num_classes, loss)
