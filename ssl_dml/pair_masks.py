"""Who is of whose class: a batch against itself and a memory."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.types import Embeddings, LabeledEmbeddings, Triplets


class PairMasks(NamedTuple):
    """Anchors, what they are compared with, and which of them are of their class.

    Attributes:
        anchors: The rows of the batch.
        references: The same rows, then those of the memory.
        positive: Other rows of the anchor's class.
        negative: Rows of other classes.
    """

    anchors: Embeddings
    references: Float[Tensor, "references dim"]
    positive: Bool[Tensor, "batch references"]
    negative: Bool[Tensor, "batch references"]

    def mined(self, triplets: Triplets | None) -> "PairMasks":
        """The pairs that are part of a triplet; all where nothing was mined."""
        if triplets is None:
            return self
        order, anchors, positives, low, high = triplets
        same = torch.zeros_like(self.positive).index_put_((anchors, positives), high > low)
        inside = count_ranges(triplets, low, high) > 0
        return self._replace(
            positive=same, negative=torch.zeros_like(same).scatter_(1, order, inside)
        )


def count_ranges(
    triplets: Triplets, low: Int[Tensor, " pairs"], high: Int[Tensor, " pairs"]
) -> Int[Tensor, "batch ranks"]:
    """How many pairs of an anchor have each rank of its order between ``low`` and ``high``."""
    batch, ranks = triplets.order.shape
    # Between two ranks as many ranges go on as began before and have not ended.
    edges = low.new_zeros(batch * (ranks + 1))
    first = triplets.anchors * (ranks + 1)
    one = torch.ones_like(low)
    edges.index_add_(0, first + low, one).index_add_(0, first + high, one, alpha=-1)
    return edges.view(batch, -1).cumsum(dim=1)[:, :-1]


def rank_in_group(anchors: Int[Tensor, " pairs"], batch: int) -> tuple[Int[Tensor, " pairs"], int]:
    """The number of each pair among those of its anchor, from 0, and how many the most have."""
    counts = anchors.bincount(minlength=batch)
    begins = counts.cumsum(dim=0) - counts
    numbers = torch.arange(len(anchors), device=anchors.device) - begins[anchors]
    return numbers, int(counts.max()) if batch else 0


def batched_searchsorted(
    values: Float[Tensor, " pairs"],
    rising: Float[Tensor, "batch ranks"],
    anchors: Int[Tensor, " pairs"],
    *,
    or_equal: bool,
) -> Int[Tensor, " pairs"]:
    """How many entries of its anchor's row are below each value, or equal to it.

    Args:
        values: One for each pair.
        rising: A row for each anchor.
        anchors: Row of each pair, ascending.
        or_equal: Whether equal entries count.
    """
    numbers, most = rank_in_group(anchors, len(rising))
    table = values.new_zeros(len(rising), most)
    table[anchors, numbers] = values
    return torch.searchsorted(rising, table, right=or_equal)[anchors, numbers]


def pair_masks(
    embeddings: Embeddings, labels: Int[Tensor, " labels"], memory: LabeledEmbeddings | None = None
) -> PairMasks:
    """Every row of a batch against the others and a memory; never against itself.

    Args:
        embeddings: Rows of the batch.
        labels: Class of each; a row of a negative one is compared with nothing.
        memory: Further references, whose labels may be negative too; gradient does not reach them.

    Raises:
        ValueError: If there are not as many labels as rows, or the memory is of another
            dimension.
    """
    if len(labels) != len(embeddings):
        raise ValueError(f"labels need one entry a row: {len(labels)} for {len(embeddings)} rows")
    references, classes = embeddings, labels
    if memory is not None:
        if memory.embeddings.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"the memory holds rows of {memory.embeddings.shape[1]} dimensions, "
                f"the batch of {embeddings.shape[1]}"
            )
        references = torch.cat([embeddings, memory.embeddings.detach().to(embeddings)])
        classes = torch.cat([labels, memory.labels.to(labels)])
    known = (labels >= 0)[:, None] & (classes >= 0)
    same = labels[:, None] == classes
    return PairMasks(embeddings, references, (same & known).fill_diagonal_(False), ~same & known)
