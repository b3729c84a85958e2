"""Miners with one negative for each positive."""

from typing import final

import torch
from torch import Tensor

from ssl_dml.checks import seeds
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distances import Distance, distances
from ssl_dml.mining.base import Miner, Ranking, RankingMiner, rank_negatives
from ssl_dml.pair_masks import batched_searchsorted, pair_masks, rank_in_group
from ssl_dml.precision import unit_rows
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@final
class FaceNet(RankingMiner):
    """For each positive pair, the nearest negative that is farther than the positive.

    Where there is none, it is the farthest negative. There is no upper limit as in
    :class:`~ssl_dml.mining.SemiHard`, so every positive pair counts.

    Args:
        distance: What is compared; squared in the paper.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import FaceNet
        >>> rows, labels = torch.tensor([[0.0], [3.0], [5.5], [1.0]]), torch.tensor([0, 0, 1, 2])
        >>> mined = FaceNet()(rows, labels)
        >>> mined.order[mined.anchors, mined.low]  # for (0, 1) the next, for (1, 0) the farthest
        tensor([2, 2])

    References:
        Schroff et al., 2015, arXiv:1503.03832, sec. 3.2; the rule without a negative is that of
        TensorFlow's ``triplet_semihard_loss``.
    """

    def __init__(self, *, distance: Distance = "squared") -> None:
        super().__init__(distance=distance)

    def choose(self, ranking: Ranking) -> Triplets:
        """One negative for each positive of each anchor that has negatives."""
        return ranking.single(ranking.nearer(ranking.distances, or_equal=True))


@final
class BatchHard(Miner):
    """For each anchor, its farthest positive with its nearest negative.

    Args:
        distance: What is compared.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import BatchHard
        >>> rows = torch.tensor([[0.0], [1.0], [2.0], [1.5]])
        >>> mined = BatchHard()(rows, torch.tensor([0, 0, 0, 1]))
        >>> mined.positives[:3], mined.order[:3, 0]
        (tensor([2, 0, 0]), tensor([3, 3, 3]))
        >>> mined.high - mined.low  # row 3 has no positive
        tensor([1, 1, 1, 0])

    References:
        Hermans et al., 2017, arXiv:1703.07737, eq. 5.
    """

    def __init__(self, *, distance: Distance = "euclidean") -> None:
        super().__init__()
        self.distance: Distance = distance

    @torch.no_grad()
    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """One triplet for each anchor that has a positive and a negative."""
        pairs = pair_masks(embeddings, labels, memory)
        found = distances(pairs.anchors, pairs.references, kind=self.distance)
        farthest = found.masked_fill(~pairs.positive, -torch.inf).argmax(dim=1)
        nearest = found.masked_fill(~pairs.negative, torch.inf).argmin(dim=1)
        valid = pairs.positive.any(dim=1) & pairs.negative.any(dim=1)
        anchors = torch.arange(len(valid), device=valid.device)
        return Triplets(
            nearest[:, None], anchors, farthest, torch.zeros_like(anchors), valid.long()
        )


@final
class DistanceWeighted(Miner):
    """For each positive pair, a negative sampled so that all distances are equally likely.

    Distances of random points on a sphere are nearly all close to the square root of 2. A negative
    at distance d is sampled with the inverse of that density, clipped at a smallest distance. Rows
    are normalized here. The samples are a function of the seed, the step and the anchor's place in
    the batch.

    Args:
        cutoff: Smaller distances have the weight of this one; above 0.
        farthest: Negatives at this distance or more are not sampled, as they cost nothing in a
            margin loss; below 2.
        seed: From 0.

    Raises:
        ValueError: If the range of distances is empty.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining import DistanceWeighted
        >>> rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0]])
        >>> mined = DistanceWeighted()(rows, torch.tensor([0, 0, 1, 2]))
        >>> mined.order[mined.anchors, mined.low]  # row 3 is too far
        tensor([2, 2])

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
        seeds(seed=seed)
        self.cutoff, self.farthest, self.seed = cutoff, farthest, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """One negative for each positive of each anchor that has one within reach."""
        rows = unit_rows(embeddings)
        if memory is not None:
            memory = memory._replace(embeddings=unit_rows(memory.embeddings))
        ranking = rank_negatives(rows, labels, memory)
        weights = self._log_weights(ranking.far, dim=rows.shape[1])
        reachable = (ranking.far < self.farthest).sum(dim=1)[ranking.anchors]
        cumulated = weights.softmax(dim=1).cumsum(dim=1)
        numbers, most = rank_in_group(ranking.anchors, *ranking.order.shape)
        instances = torch.arange(len(rows), device=rows.device) + (self.seed << 32)
        draws = counter_based_indices(instances, self.step, count=most, high=2**24)
        self.step += self.training
        fraction = (draws[ranking.anchors, numbers].to(cumulated) + 0.5) / 2**24
        wanted = fraction * cumulated[ranking.anchors, -1]
        at = batched_searchsorted(wanted, cumulated, ranking.anchors, or_equal=True)
        return ranking.single(at.minimum(reachable - 1), reachable > 0)

    def _log_weights(self, far: Tensor, *, dim: int) -> Tensor:
        nearest = far.clamp(self.cutoff, self.farthest)
        weights = (2 - dim) * nearest.log() + (3 - dim) / 2 * torch.log1p(-nearest.square() / 4)
        weights = weights.masked_fill(far >= self.farthest, -torch.inf)
        return weights.masked_fill((far >= self.farthest).all(dim=1, keepdim=True), 0.0)
