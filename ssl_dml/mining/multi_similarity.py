"""The miner of the multi-similarity loss."""

from typing import final

import torch

from ssl_dml.checks import finite
from ssl_dml.mining.base import Ranking, RankingMiner
from ssl_dml.types import Triplets


@final
class MultiSimilarityMiner(RankingMiner):
    """Pairs that are hard compared with the hardest pair of the other kind.

    A positive is kept if its cosine minus ``epsilon`` is below that of the nearest negative. A
    negative is kept if its cosine plus ``epsilon`` is above that of the farthest positive. All
    kept positives and negatives of an anchor form triplets.

    Args:
        epsilon: Width of the band, in units of a cosine.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import MultiSimilarityMiner
        >>> rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]])
        >>> mined = MultiSimilarityMiner()(rows, torch.tensor([0, 0, 1, 2]))
        >>> mined.high - mined.low  # row 2 alone for the pairs (0, 1) and (1, 0)
        tensor([1, 1])

    References:
        Wang et al., 2019, arXiv:1904.06627, eq. 10 and 11; code: 0.1.
    """

    def __init__(self, *, epsilon: float = 0.1) -> None:
        super().__init__(distance="cosine")
        finite(epsilon=epsilon)
        self.epsilon = epsilon

    def choose(self, ranking: Ranking) -> Triplets:
        """The kept pairs of each anchor."""
        anchors, found = ranking.anchors, ranking.distances
        farthest = found.new_full((len(ranking.negatives),), -torch.inf)
        farthest = farthest.scatter_reduce(0, anchors, found, "amax")[anchors]
        kept = found + self.epsilon > ranking.far[anchors, 0]
        return ranking.between(0, ranking.nearer(farthest + self.epsilon, or_equal=False), kept)
