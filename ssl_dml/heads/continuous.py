"""Heads for labels that are numbers: an age, an angle, a pose."""

from abc import abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.distributed import gather, gather_with_gradient
from ssl_dml.heads.base import Head
from ssl_dml.losses import dense_triplet, log_ratio
from ssl_dml.losses.log_ratio import LogRatioVariant
from ssl_dml.types import ContinuousLabels, Embeddings, StepOutput


class ContinuousHead(Head):
    """Distances of embeddings, of any length, beside distances of labels, both Euclidean.

    Every process computes the loss of the whole batch. ``batches_without_pairs`` in the log
    counts those whose labels are all the same, which teach nothing: their loss is 0, but not that
    of the ``official`` form of the log-ratio.

    Args:
        embedding_dim: Not used.
        num_classes: Not used.
        anchors: First rows of the batch that are anchors; None for all. Batches that are drawn
            around a sample, by ``labels.nearest``, have it as their first, and 1 is for them.

    Raises:
        ValueError: If ``anchors`` is below 1.
    """

    continuous = True
    without_pairs: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        anchors: int | None = None,
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        at_least(1, anchors=anchors)
        self.anchors = anchors
        self.register_buffer("without_pairs", torch.zeros((), dtype=torch.long))

    def forward(self, embeddings: Embeddings, labels: ContinuousLabels) -> StepOutput:
        """Loss of the whole batch, on every process.

        Args:
            embeddings: Rows.
            labels: Numbers of each.
        """
        rows, targets = gather_with_gradient(embeddings), gather(labels)
        loss = self.compare(rows, targets)
        if self.training:
            self.without_pairs += (targets == targets[:1]).all()
        return StepOutput(loss, {"batches_without_pairs": self.without_pairs.float()})

    @abstractmethod
    def compare(self, rows: Embeddings, targets: ContinuousLabels) -> Float[Tensor, ""]:
        """The loss of a whole batch."""


@final
class LogRatio(ContinuousHead):
    """:func:`ssl_dml.losses.log_ratio`: ratios of distances are to be those of the labels.

    Args:
        embedding_dim: Not used.
        num_classes: Not used.
        variant: As there.
        anchors: As in :class:`ContinuousHead`.

    References:
        Kim et al., 2019, arXiv:1904.09626.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        variant: LogRatioVariant = "squared",
        anchors: int | None = None,
    ) -> None:
        super().__init__(embedding_dim, num_classes, anchors=anchors)
        self.variant: LogRatioVariant = variant

    def compare(self, rows: Embeddings, targets: ContinuousLabels) -> Float[Tensor, ""]:
        """The loss of a whole batch."""
        return log_ratio(rows, targets, variant=self.variant, anchors=self.anchors)


@final
class DenseTriplet(ContinuousHead):
    """:func:`ssl_dml.losses.dense_triplet`: who is nearer by label is to be nearer by a margin.

    Args:
        embedding_dim: Not used.
        num_classes: Not used.
        margin: Of squared distances, at least 0.
        anchors: As in :class:`ContinuousHead`.

    Raises:
        ValueError: If ``margin`` is negative.

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
        super().__init__(embedding_dim, num_classes, anchors=anchors)
        at_least(0, margin=margin)
        self.margin = margin

    def compare(self, rows: Embeddings, targets: ContinuousLabels) -> Float[Tensor, ""]:
        """The loss of a whole batch."""
        return dense_triplet(rows, targets, margin=self.margin, anchors=self.anchors)
