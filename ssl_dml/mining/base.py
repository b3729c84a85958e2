"""The contract of miners, and the ranking of negatives that they start from."""

from abc import ABC, abstractmethod
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ssl_dml.distances import Distance, distances
from ssl_dml.pair_masks import batched_searchsorted, pair_masks
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


class Miner(nn.Module, ABC):
    """Chooses the pairs and triplets of a batch that a loss counts."""

    @abstractmethod
    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """Choose triplets, without gradient.

        Args:
            embeddings: Rows of the whole batch, the same on every process.
            labels: Class of each row.
            memory: Embeddings of earlier batches, further positives and negatives.
        """


class Ranking(NamedTuple):
    """The positive pairs of a batch, and the negatives of each anchor from near to far.

    Attributes:
        anchors: Anchor of each pair, ascending.
        positives: Reference of the pair's positive.
        distances: Distance of each pair.
        order: References of each anchor: its negatives from near to far, then the rest.
        far: Distances in that order, infinite after the negatives.
        negatives: Number of negatives of each anchor.
    """

    anchors: Int[Tensor, " pairs"]
    positives: Int[Tensor, " pairs"]
    distances: Float[Tensor, " pairs"]
    order: Int[Tensor, "batch references"]
    far: Float[Tensor, "batch references"]
    negatives: Int[Tensor, " batch"]

    def nearer(self, limits: Float[Tensor, " pairs"], *, or_equal: bool) -> Int[Tensor, " pairs"]:
        """For each pair, count the negatives of its anchor that are nearer than its limit."""
        found = batched_searchsorted(limits, self.far, self.anchors, or_equal=or_equal)
        return found.minimum(self.negatives[self.anchors])

    def between(
        self,
        low: Int[Tensor, " pairs"] | int,
        high: Int[Tensor, " pairs"],
        kept: Bool[Tensor, " pairs"] | None = None,
    ) -> Triplets:
        """Triplets of each pair with the negatives in a range of ranks.

        The range of a pair that is not kept is empty: the host would wait for a list without it.
        """
        low = torch.zeros_like(high) + low
        high = high.maximum(low)
        high = high if kept is None else high.where(kept, low)
        return Triplets(self.order, self.anchors, self.positives, low, high)

    def single(
        self, at: Int[Tensor, " pairs"], kept: Bool[Tensor, " pairs"] | None = None
    ) -> Triplets:
        """Triplets of each pair with the negative of one rank, or with the last if it is beyond."""
        last = self.negatives[self.anchors] - 1
        at = at.minimum(last).clamp(min=0)
        return self.between(at, at + 1, last >= 0 if kept is None else kept)


@torch.no_grad()
def rank_negatives(
    embeddings: Embeddings,
    labels: Labels,
    memory: LabeledEmbeddings | None = None,
    distance: Distance = "euclidean",
) -> Ranking:
    """Sort the negatives of each row of a batch, and list its positive pairs.

    Examples:
        >>> import torch
        >>> from ssl_dml.mining.base import rank_negatives
        >>> rows = torch.tensor([[0.0], [1.0], [5.0], [3.0]])
        >>> ranking = rank_negatives(rows, torch.tensor([0, 0, 1, 2]))
        >>> ranking.order[0, :2]  # the negatives of row 0
        tensor([3, 2])
        >>> ranking.anchors, ranking.positives
        (tensor([0, 1]), tensor([1, 0]))
    """
    pairs = pair_masks(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references, kind=distance)
    anchors, positives = pairs.positive.nonzero(as_tuple=True)
    own = found[anchors, positives]
    far, order = found.masked_fill_(~pairs.negative, torch.inf).sort(dim=1, stable=True)
    return Ranking(anchors, positives, own, order, far, pairs.negative.sum(dim=1))


class RankingMiner(Miner):
    """A miner that chooses ranges of the ranked negatives.

    Args:
        distance: What the ranking compares: a name, or a
            :class:`~ssl_dml.distances.Mahalanobis`.
    """

    def __init__(self, *, distance: Distance = "euclidean") -> None:
        super().__init__()
        self.distance: Distance = distance

    @final
    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None = None
    ) -> Triplets:
        """Rank the negatives and choose among them."""
        return self.choose(rank_negatives(embeddings, labels, memory, self.distance))

    @abstractmethod
    def choose(self, ranking: Ranking) -> Triplets:
        """Choose the range of each pair."""
