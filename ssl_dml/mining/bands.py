"""Triplets by how far the negative is behind the positive."""

from typing import final

from ssl_dml.distances import Distance
from ssl_dml.mining.base import Miner, rank
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@final
class All(Miner):
    """Every triplet."""

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """All negatives beside each positive."""
        ranking = rank(embeddings, labels, memory, "squared")
        return ranking.between(0, ranking.negatives[ranking.anchors])


@final
class Hard(Miner):
    """Triplets whose negative is not farther than the positive.

    Args:
        distance: What is compared.
    """

    def __init__(self, *, distance: Distance = "euclidean") -> None:
        super().__init__()
        self.distance: Distance = distance

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """Negatives up to the distance of each positive."""
        ranking = rank(embeddings, labels, memory, self.distance)
        high = ranking.nearer(ranking.distances, or_equal=True)
        return ranking.between(0, high)


@final
class SemiHard(Miner):
    """Triplets whose negative is farther than the positive by no more than a margin.

    Args:
        margin: Width of the band, in the unit of the distance; at least 0.
        distance: What is compared.

    Raises:
        ValueError: If ``margin`` is negative.

    References:
        Schroff et al., 2015, arXiv:1503.03832, eq. 4; one such negative a pair: :class:`FaceNet`.
    """

    def __init__(self, *, margin: float = 0.2, distance: Distance = "euclidean") -> None:
        super().__init__()
        check_margin(margin)
        self.margin = margin
        self.distance: Distance = distance

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """Negatives behind each positive and within the margin."""
        ranking = rank(embeddings, labels, memory, self.distance)
        low = ranking.nearer(ranking.distances, or_equal=True)
        return ranking.between(low, ranking.nearer(ranking.distances + self.margin, or_equal=True))


@final
class Easy(Miner):
    """Triplets whose negative is farther than the positive by more than a margin.

    Args:
        margin: In the unit of the distance; at least 0.
        distance: What is compared.

    Raises:
        ValueError: If ``margin`` is negative.
    """

    def __init__(self, *, margin: float = 0.2, distance: Distance = "euclidean") -> None:
        super().__init__()
        check_margin(margin)
        self.margin = margin
        self.distance: Distance = distance

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """Negatives behind each positive and its margin."""
        ranking = rank(embeddings, labels, memory, self.distance)
        low = ranking.nearer(ranking.distances + self.margin, or_equal=True)
        return ranking.between(low, ranking.negatives[ranking.anchors])


def check_margin(margin: float) -> None:
    """Refuse a band of negative width."""
    if margin < 0:
        raise ValueError(f"margin must be at least 0, got {margin}")
