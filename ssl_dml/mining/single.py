"""One negative beside a positive."""

from typing import final

import torch
from torch import Tensor

from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distances import Distance, distances
from ssl_dml.mining.base import Miner, Ranking, rank
from ssl_dml.pair_masks import batched_searchsorted, pair_masks, rank_in_group
from ssl_dml.precision import unit_rows
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@final
class FaceNet(Miner):
    """For each pair the nearest negative that is farther than the positive.

    Where none is, it is the farthest negative there is. There is no upper limit as in
    :class:`SemiHard`, so every pair of a class counts.

    Args:
        distance: What is compared; squared in the paper.

    References:
        Schroff et al., 2015, arXiv:1503.03832, sec. 3.2; the rule without a negative is that of
        TensorFlow's ``triplet_semihard_loss``.
    """

    def __init__(self, *, distance: Distance = "squared") -> None:
        super().__init__()
        self.distance: Distance = distance

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """One negative for each positive of each anchor that has negatives."""
        ranking = rank(embeddings, labels, memory, self.distance)
        first = ranking.nearer(ranking.distances, or_equal=True)
        return _one(ranking, first)


@final
class BatchHard(Miner):
    """For each anchor its farthest positive with its nearest negative.

    Args:
        distance: What is compared.

    References:
        Hermans et al., 2017, arXiv:1703.07737, eq. 5.
    """

    def __init__(self, *, distance: Distance = "euclidean") -> None:
        super().__init__()
        self.distance: Distance = distance

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """One triplet for each anchor that has both."""
        pairs = pair_masks(embeddings.detach(), labels, memory)
        found = distances(pairs.anchors, pairs.references, kind=self.distance)
        farthest = found.masked_fill(~pairs.positive, -torch.inf).argmax(dim=1)
        nearest = found.masked_fill(~pairs.negative, torch.inf).argmin(dim=1)
        anchors = (pairs.positive.any(dim=1) & pairs.negative.any(dim=1)).nonzero()[:, 0]
        low = torch.zeros_like(anchors)
        return Triplets(nearest[:, None], anchors, farthest[anchors], low, low + 1)


@final
class DistanceWeighted(Miner):
    """For each pair a negative drawn so that all distances are equally likely.

    Pairs of random points on a sphere are nearly all at a distance of about the root of 2; a
    negative at distance d is drawn with the inverse of that density, cut off at a smallest
    distance. Rows are taken as unit vectors. The draws are a function of the seed, the step and
    the anchor's place in the batch.

    Args:
        cutoff: Smaller distances weigh as this one; above 0.
        farthest: Negatives from there on are not drawn, as a margin loss has none there; below 2.
        seed: From 0.

    Raises:
        ValueError: If the range of distances is empty.

    References:
        Wu et al., 2017, arXiv:1706.07567, eq. 3 and 4; 0.5 and 1.4 are the authors' choices.
    """

    step: Tensor

    def __init__(self, *, cutoff: float = 0.5, farthest: float = 1.4, seed: int = 0) -> None:
        super().__init__()
        if not 0 < cutoff < farthest < 2:  # noqa: PLR2004 - the diameter of the sphere
            raise ValueError(
                "cutoff must be above 0 and below farthest, and that below 2, "
                f"got {cutoff} and {farthest}"
            )
        self.cutoff, self.farthest, self.seed = cutoff, farthest, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """One negative for each positive of each anchor that has some within reach."""
        rows = unit_rows(embeddings)
        if memory is not None:
            memory = memory._replace(embeddings=unit_rows(memory.embeddings))
        ranking = rank(rows, labels, memory, "euclidean")
        weights = self._log_weights(ranking.far, dim=rows.shape[1])
        reachable = (ranking.far < self.farthest).sum(dim=1)[ranking.anchors]
        cumulated = weights.softmax(dim=1).cumsum(dim=1)
        numbers, most = rank_in_group(ranking.anchors, len(rows))
        what_for = torch.arange(len(rows), device=rows.device) + (self.seed << 32)
        draws = counter_based_indices(what_for, self.step, count=most, high=2**24)
        self.step += self.training
        fraction = (draws[ranking.anchors, numbers].to(cumulated) + 0.5) / 2**24
        wanted = fraction * cumulated[ranking.anchors, -1]
        at = batched_searchsorted(wanted, cumulated, ranking.anchors, or_equal=True).minimum(
            reachable - 1
        )
        return _one(ranking, at, reachable > 0)

    def _log_weights(self, far: Tensor, *, dim: int) -> Tensor:
        nearest = far.clamp(self.cutoff, self.farthest)
        squares = nearest.square()
        weights = (2 - dim) * nearest.log() + (3 - dim) / 2 * torch.log1p(-squares / 4)
        weights = weights.masked_fill(far >= self.farthest, -torch.inf)
        return weights.masked_fill((far >= self.farthest).all(dim=1, keepdim=True), 0.0)


def _one(ranking: Ranking, at: Tensor, kept: Tensor | None = None) -> Triplets:
    """Triplets of pairs with the negative of a rank, or with the last where it is beyond."""
    last = ranking.negatives[ranking.anchors] - 1
    at = at.minimum(last)
    return ranking.between(at, at + 1, last >= 0 if kept is None else kept)
