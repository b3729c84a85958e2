"""Triplets by how much farther the negative is than the positive."""

from abc import ABC
from typing import final

from ssl_dml import checks
from ssl_dml.distances import Distance
from ssl_dml.mining.base import Ranking, RankingMiner
from ssl_dml.types import Triplets


@final
class All(RankingMiner):
    """Every triplet.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import All
        >>> rows, labels = torch.tensor([[0.0], [1.0], [5.0], [3.0]]), torch.tensor([0, 0, 1, 2])
        >>> mined = All()(rows, labels)
        >>> mined.high - mined.low  # negatives of the pairs (0, 1) and (1, 0)
        tensor([2, 2])
    """

    def __init__(self) -> None:
        super().__init__(distance="squared")

    def choose(self, ranking: Ranking) -> Triplets:
        """All negatives for each pair."""
        return ranking.between(0, ranking.negatives[ranking.anchors])


@final
class Hard(RankingMiner):
    """Triplets whose negative is not farther than the positive.

    Args:
        distance: What is compared.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import Hard
        >>> rows, labels = torch.tensor([[0.0], [3.0], [5.0], [1.0]]), torch.tensor([0, 0, 1, 2])
        >>> mined = Hard()(rows, labels)
        >>> mined.high - mined.low  # row 3 for the pair (0, 1), rows 2 and 3 for (1, 0)
        tensor([1, 2])
    """

    def choose(self, ranking: Ranking) -> Triplets:
        """Negatives up to the distance of each pair."""
        return ranking.between(0, ranking.nearer(ranking.distances, or_equal=True))


class MarginMiner(RankingMiner, ABC):
    """A miner that chooses negatives on one side of a margin beyond the positive.

    Args:
        margin: In the unit of the distance; at least 0.
        distance: What is compared.

    Raises:
        ValueError: If ``margin`` is negative.
    """

    def __init__(self, *, margin: float = 0.2, distance: Distance = "euclidean") -> None:
        super().__init__(distance=distance)
        checks.at_least(0, margin=margin)
        self.margin = margin


@final
class SemiHard(MarginMiner):
    """Triplets whose negative is farther than the positive by no more than a margin.

    Args:
        margin: Width of the band, in the unit of the distance; at least 0.
        distance: What is compared.

    Raises:
        ValueError: If ``margin`` is negative.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import SemiHard
        >>> rows, labels = torch.tensor([[0.0], [1.0], [5.0], [3.0]]), torch.tensor([0, 0, 1, 2])
        >>> mined = SemiHard(margin=2.0)(rows, labels)
        >>> mined.high - mined.low  # row 3 for both pairs; row 2 is too far
        tensor([1, 1])

    References:
        Schroff et al., 2015, arXiv:1503.03832, eq. 4; one such negative a pair: :class:`FaceNet`.
    """

    def choose(self, ranking: Ranking) -> Triplets:
        """Negatives beyond each positive and within the margin."""
        low = ranking.nearer(ranking.distances, or_equal=True)
        return ranking.between(low, ranking.nearer(ranking.distances + self.margin, or_equal=True))


@final
class Easy(MarginMiner):
    """Triplets whose negative is farther than the positive by more than a margin.

    Args:
        margin: In the unit of the distance; at least 0.
        distance: What is compared.

    Raises:
        ValueError: If ``margin`` is negative.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import Easy
        >>> rows, labels = torch.tensor([[0.0], [1.0], [5.0], [3.0]]), torch.tensor([0, 0, 1, 2])
        >>> mined = Easy(margin=2.0)(rows, labels)
        >>> mined.high - mined.low  # row 2 for both pairs; row 3 is too near
        tensor([1, 1])
    """

    def choose(self, ranking: Ranking) -> Triplets:
        """Negatives beyond each positive and its margin."""
        low = ranking.nearer(ranking.distances + self.margin, or_equal=True)
        return ranking.between(low, ranking.negatives[ranking.anchors])
