"""Triplets: a positive is to be nearer than a negative, by a margin."""

from collections.abc import Callable
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import Distance, distances
from ssl_dml.losses.base import PairLoss, Reduction
from ssl_dml.losses.chunks import per_pair
from ssl_dml.pair_masks import PairMasks, batched_searchsorted, count_ranges, pair_masks
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def triplet(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float | None = 0.2,
    distance: Distance = "euclidean",
    reduction: Reduction = "mean",
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Hinge of all triplets of an anchor, a positive and a negative, in the memory of pairs.

    .. math:: \max(0, \; d_{ap} - d_{an} + m)

    Negatives are sorted once for each anchor, and how many are within the margin of a positive is
    searched for; the cube of the batch is never looped over. Only the soft margin has to, a part
    at a time.

    Args:
        embeddings: Rows.
        labels: Class of each.
        margin: m, in the unit of the distance, at least 0; None is the soft margin
            :math:`\log(1 + e^{d_{ap} - d_{an}})`.
        distance: d. FaceNet squares it, on unit rows.
        reduction: ``mean`` over triplets; ``non_zero``, pytorch-metric-learning's default, over
            those whose loss is not 0; or the ``sum``.
        memory: Further rows that the batch is compared with.
        mined: Triplets that count; None for all. Where they were ranked by a distance that orders
            references as this one does, they are summed without a loop.

    Returns:
        0 where every negative is farther than every positive by the margin, or there is no
        triplet; ``margin`` where all rows are equal.

    Raises:
        ValueError: If ``margin`` is negative.

    References:
        Schroff et al., 2015, arXiv:1503.03832, eq. 1; soft margin: Hermans et al., 2017,
        arXiv:1703.07737.
    """
    if margin is not None and margin < 0:
        raise ValueError(f"margin must be at least 0, or null for the soft one, got {margin}")
    pairs = pair_masks(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references, kind=distance)
    chosen = mined or _every(found, pairs)
    count = positive = (chosen.high - chosen.low).sum()

    def function(gaps: Tensor) -> Tensor:
        return F.softplus(gaps) if margin is None else F.relu(gaps + margin)

    def above(gaps: Tensor) -> Tensor:
        return (function(gaps) > 0).to(gaps)

    if count <= found.numel():
        losses = _listed(found, chosen, function)
        total, positive = losses.sum(), (losses > 0).sum()
    elif margin is not None and (mined is None or _in_order(found, chosen)):
        total, positive = _hinge(found, chosen, margin)
    else:
        total = _in_parts(found, chosen, function)
        if reduction == "non_zero":
            positive = _in_parts(found.detach(), chosen, above)
    if reduction == "sum":
        return total
    number = positive if reduction == "non_zero" else count
    return total / number.clamp(min=1).to(total.dtype)


def _every(found: Tensor, pairs: PairMasks) -> Triplets:
    anchors, positives = pairs.positive.nonzero(as_tuple=True)
    order = found.detach().masked_fill(~pairs.negative, torch.inf).argsort(dim=1)
    high = pairs.negative.sum(dim=1)[anchors]
    return Triplets(order, anchors, positives, torch.zeros_like(high), high)


def _in_order(found: Tensor, chosen: Triplets) -> bool:
    """Whether every range goes from near to far by this distance too."""
    steps = found.detach().gather(1, chosen.order).diff(dim=1)
    return not bool(((steps < 0) & _within(chosen)[:, 1:]).any())


def _within(chosen: Triplets) -> Tensor:
    """Ranks before the end of the last range of each anchor."""
    last = chosen.high.new_zeros(len(chosen.order), 1)
    last = last[:, 0].scatter_reduce(0, chosen.anchors, chosen.high, "amax")[:, None]
    return torch.arange(chosen.order.shape[1], device=last.device) < last


def _hinge(found: Tensor, chosen: Triplets, margin: float) -> tuple[Tensor, Tensor]:
    """Sum over the triplets, and how many have a loss above 0; ranges go from near to far.

    The sum is linear in the distances, once it is known how often each of them counts.
    """
    order, anchors, positives, low, high = chosen
    with torch.no_grad():
        # Behind the last range distances need not rise.
        rising = found.gather(1, order).masked_fill_(~_within(chosen), torch.inf)
        limits = found[anchors, positives] + margin
        cut = (
            batched_searchsorted(limits, rising, anchors, or_equal=False).minimum(high).maximum(low)
        )
        number = cut - low
        weights = torch.zeros_like(found)
        weights.scatter_(1, order, count_ranges(chosen, low, cut).to(found).neg_())
        weights[anchors, positives] = number.to(found)
    # Differences of long sums: in double precision where there is one.
    precise = found if found.device.type == "mps" else found.double()
    total = (precise * weights).sum() + margin * number.sum().to(precise.dtype)
    return total.to(found.dtype), number.sum()


Function = Callable[[Tensor], Tensor]


def _listed(found: Tensor, chosen: Triplets, function: Function) -> Tensor:
    """A function of the gap of each triplet."""
    order, anchors, positives, low, high = chosen
    widths = high - low
    pairs = torch.arange(len(widths), device=widths.device).repeat_interleave(widths)
    begins = widths.cumsum(dim=0) - widths - low
    ranks = torch.arange(len(pairs), device=widths.device) - begins[pairs]
    rows = anchors * found.shape[1]
    flat = found.flatten()
    own = flat.index_select(0, rows + positives).index_select(0, pairs)
    other = flat.index_select(0, rows[pairs] + order[anchors[pairs], ranks])
    return function(own - other)


def _in_parts(found: Tensor, chosen: Triplets, function: Function) -> Tensor:
    """Sum of a function of the gaps of triplets that are too many to be listed."""
    order, anchors, positives, low, high = chosen
    numbers = torch.arange(len(anchors), device=found.device)
    ranks = torch.arange(order.shape[1], device=found.device)

    def values(rows: Tensor, anchors: Tensor, numbers: Tensor) -> Tensor:
        gaps = rows.gather(1, positives[numbers, None]) - rows.gather(1, order[anchors])
        begins, ends = low[numbers, None], high[numbers, None]
        outside = (ranks < begins) | (ranks >= ends)
        return function(gaps).masked_fill(outside, 0.0).sum(dim=1)

    return per_pair(found, anchors, numbers, values).sum()


@final
class Triplet(PairLoss):
    """Module form of :func:`triplet`.

    Args:
        margin: At least 0; None is the soft margin.
        distance: ``euclidean``, ``squared``, ``cosine`` or ``dot``.
        reduction: ``mean``, ``non_zero`` or ``sum``.
    """

    def __init__(
        self,
        *,
        margin: float | None = 0.2,
        distance: Distance = "euclidean",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.loss = partial(triplet, margin=margin, distance=distance, reduction=reduction)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
