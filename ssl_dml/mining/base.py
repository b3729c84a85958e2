"""The contract of miners, and the ranking that they start from."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ssl_dml.comparisons import compare
from ssl_dml.distances import Distance, distances
from ssl_dml.types import Embeddings, Labelled, Labels, Triplets


class Miner(nn.Module, ABC):
    """Chooses the pairs and triplets of a batch that a loss counts."""

    @abstractmethod
    def forward(
        self, embeddings: Embeddings, labels: Labels, memory: Labelled | None = None
    ) -> Triplets:
        """What counts, without gradient.

        Args:
            embeddings: Rows of the whole batch; every process has the same.
            labels: Class of each.
            memory: Further references.
        """


class Ranking(NamedTuple):
    """Distances of a batch, and each anchor's negatives in order.

    Attributes:
        distances: From each anchor to each reference.
        same: References that are positives.
        order: Negatives from near to far, then the others.
        far: The distances of ``order``, infinite behind the negatives.
        negatives: How many each anchor has.
    """

    distances: Float[Tensor, "anchors references"]
    same: Bool[Tensor, "anchors references"]
    order: Int[Tensor, "anchors references"]
    far: Float[Tensor, "anchors references"]
    negatives: Int[Tensor, "anchors 1"]

    def nearer(
        self, limits: Float[Tensor, "anchors limits"], *, or_equal: bool
    ) -> Int[Tensor, "anchors limits"]:
        """How many negatives of each anchor are nearer than each of its limits."""
        found = torch.searchsorted(self.far, limits.contiguous(), right=or_equal)
        return found.minimum(self.negatives)

    def between(
        self,
        low: Int[Tensor, "anchors #references"],
        high: Int[Tensor, "anchors #references"],
        positives: Bool[Tensor, "anchors references"] | None = None,
    ) -> Triplets:
        """Triplets of the positives with the negatives that are ranked in a range."""
        kept = self.same if positives is None else positives
        low, high = (rank.expand_as(self.order) * kept for rank in (low, high))
        return Triplets(self.order, low, high.maximum(low))


@torch.no_grad()
def rank(
    embeddings: Embeddings, labels: Labels, memory: Labelled | None, kind: Distance
) -> Ranking:
    """Measure a batch against itself and a memory."""
    pairs = compare(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references, kind=kind)
    far, order = found.masked_fill(~pairs.other, torch.inf).sort(dim=1, stable=True)
    return Ranking(found, pairs.same, order, far, pairs.other.sum(dim=1, keepdim=True))
