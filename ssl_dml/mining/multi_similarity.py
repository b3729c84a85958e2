"""Pairs that are hard beside the hardest of the other kind."""

from typing import final

import torch

from ssl_dml.mining.base import Miner, rank
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@final
class MultiSimilarityMiner(Miner):
    """Positives less similar than the most similar negative, and negatives the other way round.

    A positive counts if its cosine less ``epsilon`` is below that of the nearest negative; a
    negative if its cosine plus ``epsilon`` is above that of the farthest positive. Kept negatives
    stand beside every kept positive.

    Args:
        epsilon: Width of the band, in units of a cosine.

    References:
        Wang et al., 2019, arXiv:1904.06627, eq. 10 and 11; code: 0.1.
    """

    def __init__(self, *, epsilon: float = 0.1) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """Kept pairs of each anchor that has both kinds."""
        ranking = rank(embeddings, labels, memory, "cosine")
        anchors, found = ranking.anchors, ranking.distances
        farthest = found.new_full((len(embeddings),), -torch.inf)
        farthest = farthest.scatter_reduce(0, anchors, found, "amax")[anchors]
        kept = found + self.epsilon > ranking.far[anchors, 0]
        return ranking.between(0, ranking.nearer(farthest + self.epsilon, or_equal=False), kept)
