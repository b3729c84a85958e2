"""One negative beside a positive."""

from typing import final

import torch
from torch import Tensor

from ssl_dml.distances import Distance
from ssl_dml.draws import draw_indices
from ssl_dml.mining.base import Miner, Ranking, rank
from ssl_dml.precision import unit_rows
from ssl_dml.types import Embeddings, Labelled, Labels, Triplets


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
        self, embeddings: Embeddings, labels: Labels, memory: Labelled | None = None
    ) -> Triplets:
        """One negative for each positive of each anchor that has negatives."""
        ranking = rank(embeddings, labels, memory, self.distance)
        first = ranking.nearer(ranking.distances, or_equal=True)
        return _one(ranking, first.minimum(ranking.negatives - 1))


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
        self, embeddings: Embeddings, labels: Labels, memory: Labelled | None = None
    ) -> Triplets:
        """One triplet for each anchor that has both."""
        ranking = rank(embeddings, labels, memory, self.distance)
        farthest = ranking.distances.masked_fill(~ranking.same, -torch.inf).argmax(dim=1)
        only = torch.zeros_like(ranking.same).scatter_(1, farthest[:, None], True)
        return _one(ranking, torch.zeros_like(ranking.negatives), only & ranking.same)


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
        self, embeddings: Embeddings, labels: Labels, memory: Labelled | None = None
    ) -> Triplets:
        """One negative for each positive of each anchor that has some within reach."""
        rows = unit_rows(embeddings)
        if memory is not None:
            memory = memory._replace(embeddings=unit_rows(memory.embeddings))
        ranking = rank(rows, labels, memory, "euclidean")
        weights = self._log_weights(ranking.far, dim=rows.shape[1])
        reachable = (ranking.far < self.farthest).sum(dim=1, keepdim=True)
        cumulated = weights.softmax(dim=1).cumsum(dim=1)
        anchors = torch.arange(len(rows), device=rows.device) + (self.seed << 32)
        draws = draw_indices(anchors, self.step, count=ranking.order.shape[1], high=2**24)
        self.step += 1
        wanted = (draws.to(cumulated) + 0.5) / 2**24 * cumulated[:, -1:]
        at = torch.searchsorted(cumulated, wanted, right=True).minimum(reachable - 1)
        return _one(ranking, at.clamp(min=0), ranking.same & (reachable > 0))

    def _log_weights(self, far: Tensor, *, dim: int) -> Tensor:
        nearest = far.clamp(self.cutoff, self.farthest)
        squares = nearest.square()
        weights = (2 - dim) * nearest.log() + (3 - dim) / 2 * torch.log1p(-squares / 4)
        weights = weights.masked_fill(far >= self.farthest, -torch.inf)
        return weights.masked_fill((far >= self.farthest).all(dim=1, keepdim=True), 0.0)


def _one(ranking: Ranking, at: Tensor, positives: Tensor | None = None) -> Triplets:
    some = ranking.negatives > 0
    return ranking.between(at * some, (at + 1) * some, positives)
