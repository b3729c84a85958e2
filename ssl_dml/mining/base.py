"""The contract of miners, and the ranking that they start from."""

from abc import ABC, abstractmethod
from typing import NamedTuple

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
        """What counts, without gradient.

        Args:
            embeddings: Rows of the whole batch; every process has the same.
            labels: Class of each.
            memory: Further references.
        """


class Ranking(NamedTuple):
    """Distances of the pairs of a class in a batch, and each anchor's negatives in order.

    Attributes:
        anchors: Row of each pair, ascending.
        positives: Reference of its class.
        distances: Between them.
        order: References of each anchor: its negatives from near to far, then the others.
        far: The distances of ``order``, infinite behind the negatives.
        negatives: How many each anchor has.
    """

    anchors: Int[Tensor, " pairs"]
    positives: Int[Tensor, " pairs"]
    distances: Float[Tensor, " pairs"]
    order: Int[Tensor, "batch references"]
    far: Float[Tensor, "batch references"]
    negatives: Int[Tensor, " batch"]

    def nearer(self, limits: Float[Tensor, " pairs"], *, or_equal: bool) -> Int[Tensor, " pairs"]:
        """How many negatives of a pair's anchor are nearer than its limit."""
        found = batched_searchsorted(limits, self.far, self.anchors, or_equal=or_equal)
        return found.minimum(self.negatives[self.anchors])

    def between(
        self,
        low: Int[Tensor, " pairs"] | int,
        high: Int[Tensor, " pairs"],
        kept: Bool[Tensor, " pairs"] | None = None,
    ) -> Triplets:
        """Triplets of pairs with the negatives that are ranked in a range."""
        low = torch.zeros_like(high) + low
        found = Triplets(self.order, self.anchors, self.positives, low, high.maximum(low))
        if kept is None:
            return found
        return Triplets(self.order, *(part[kept] for part in found[1:]))


@torch.no_grad()
def rank(
    embeddings: Embeddings, labels: Labels, memory: LabeledEmbeddings | None, kind: Distance
) -> Ranking:
    """Measure a batch against itself and a memory."""
    pairs = pair_masks(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references, kind=kind)
    anchors, positives = pairs.positive.nonzero(as_tuple=True)
    own = found[anchors, positives]
    far, order = found.masked_fill_(~pairs.negative, torch.inf).sort(dim=1, stable=True)
    return Ranking(anchors, positives, own, order, far, pairs.negative.sum(dim=1))
