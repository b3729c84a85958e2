"""Positive and negative masks of a batch against itself and a memory."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.types import Embeddings, LabeledEmbeddings, Triplets


class PairMasks(NamedTuple):
    """The anchors of a batch, the references they are compared with, and both masks.

    Attributes:
        anchors: Rows of the batch.
        references: Rows of the batch, then those of the memory.
        positive: Whether a reference has the class of the anchor and is not the anchor itself.
        negative: Whether a reference has another class.
    """

    anchors: Embeddings
    references: Float[Tensor, "references dim"]
    positive: Bool[Tensor, "batch references"]
    negative: Bool[Tensor, "batch references"]

    def mined(self, triplets: Triplets | None) -> "PairMasks":
        """Keep the pairs that are part of a triplet; all pairs for None."""
        if triplets is None:
            return self
        order, anchors, positives, low, high = triplets
        nothing = torch.zeros_like(self.positive)
        inside = count_ranges(triplets, low, high) > 0
        return self._replace(
            positive=nothing.index_put((anchors, positives), high > low),
            negative=nothing.scatter(1, order, inside),
        )


def count_ranges(
    triplets: Triplets, low: Int[Tensor, " pairs"], high: Int[Tensor, " pairs"]
) -> Int[Tensor, "batch ranks"]:
    """Count for each anchor and rank the ranges from ``low`` to ``high`` that cover it.

    Three ranges of one anchor over five ranks::

        rank       0  1  2  3  4
        1 to 3        x  x               edges: +1 at each low, -1 at each high
        0 to 2     x  x                  a running sum of the edges counts the ranges
        1 to 5        x  x  x  x
        count      1  3  2  1  1
    """
    batch, ranks = triplets.order.shape
    edges = low.new_zeros(batch * (ranks + 1))
    first = triplets.anchors * (ranks + 1)
    one = torch.ones_like(low)
    edges.index_add_(0, first + low, one).index_add_(0, first + high, one, alpha=-1)
    return edges.view(batch, -1).cumsum(dim=1)[:, :-1]


def rank_in_group(
    anchors: Int[Tensor, " pairs"], batch: int, references: int
) -> tuple[Int[Tensor, " pairs"], int]:
    """Number the pairs of each anchor from 0, and return how many an anchor has at most.

    On a device that is the number of references, which the host need not wait for.

    Examples:
        >>> import torch
        >>> from ssl_dml.pair_masks import rank_in_group
        >>> rank_in_group(torch.tensor([0, 0, 2, 2, 2]), 3, 5)
        (tensor([0, 1, 0, 1, 2]), 3)
    """
    counts = anchors.new_zeros(batch).index_add(0, anchors, torch.ones_like(anchors))
    begins = counts.cumsum(dim=0) - counts
    numbers = torch.arange(len(anchors), device=anchors.device) - begins[anchors]
    if anchors.device.type != "cpu":
        return numbers, references
    return numbers, int(counts.max()) if batch else 0


def batched_searchsorted(
    values: Float[Tensor, " pairs"],
    rising: Float[Tensor, "batch ranks"],
    anchors: Int[Tensor, " pairs"],
    *,
    or_equal: bool,
) -> Int[Tensor, " pairs"]:
    """For each pair, count the entries of its anchor's row that are below its value.

    Args:
        values: One for each pair.
        rising: One sorted row for each anchor.
        anchors: Anchor of each pair, ascending.
        or_equal: Whether entries equal to the value count too.

    Examples:
        >>> import torch
        >>> from ssl_dml.pair_masks import batched_searchsorted
        >>> rising, anchors = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 1, 1])
        >>> batched_searchsorted(torch.tensor([2.0, 2.0, 9.0]), rising, anchors, or_equal=False)
        tensor([1, 0, 2])
    """
    if rising.device.type == "cpu":
        numbers, most = rank_in_group(anchors, *rising.shape)
        table = values.new_zeros(len(rising), most)
        table[anchors, numbers] = values
        return torch.searchsorted(rising, table, right=or_equal)[anchors, numbers]
    return _bisected(values, rising, anchors, or_equal=or_equal)


def _bisected(
    values: Float[Tensor, " pairs"],
    rising: Float[Tensor, "batch ranks"],
    anchors: Int[Tensor, " pairs"],
    *,
    or_equal: bool,
) -> Int[Tensor, " pairs"]:
    """The same without a table, whose width the host would have to wait for."""
    ranks = rising.shape[1]
    low, high = torch.zeros_like(anchors), torch.full_like(anchors, ranks)
    for _ in range(ranks.bit_length()):
        middle = (low + high) // 2
        found = rising[anchors, middle.clamp(max=ranks - 1)]
        below = (found <= values if or_equal else found < values) & (low < high)
        low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
    return low


def pair_masks(
    embeddings: Embeddings, labels: Int[Tensor, " labels"], memory: LabeledEmbeddings | None = None
) -> PairMasks:
    """Compare each row of a batch with the other rows and a memory.

    Args:
        embeddings: Rows of the batch.
        labels: Class of each row. A row with a negative label has no positive and no negative.
        memory: Further references, without gradient; their labels may be negative too.

    Raises:
        ValueError: If there are not as many labels as rows, or the memory has another dimension.

    Examples:
        >>> import torch
        >>> from ssl_dml.pair_masks import pair_masks
        >>> pair_masks(torch.eye(3), torch.tensor([0, 0, 1])).positive.int()
        tensor([[0, 1, 0],
                [1, 0, 0],
                [0, 0, 0]], dtype=torch.int32)
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
    equal = labels[:, None] == classes
    return PairMasks(embeddings, references, (equal & known).fill_diagonal_(False), ~equal & known)
