"""Triplets: a positive is to be nearer than a negative, by a margin."""

from collections.abc import Callable
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.comparisons import compare
from ssl_dml.distances import Distance, distances
from ssl_dml.losses.base import PairLoss, Reduction
from ssl_dml.losses.chunks import per_pair
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, Labelled, Labels, Triplets


@full_precision
def triplet(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float | None = 0.2,
    distance: Distance = "euclidean",
    reduction: Reduction = "mean",
    memory: Labelled | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Hinge of all triplets of an anchor, a positive and a negative, in the memory of pairs.

    .. math:: \max(0, \; d_{ap} - d_{an} + m)

    Negatives are sorted once for each anchor, and sums over a range of them are differences of
    running sums; the cube of the batch is never looped over. Only the soft margin has to, a part
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
    pairs = compare(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references, kind=distance)
    chosen = mined or _every(found, pairs.same, pairs.other)
    count = (chosen.high - chosen.low).sum()
    if margin is None:
        total, positive = _one_by_one(found, chosen, F.softplus)
    elif mined is None or _in_order(found, chosen):
        total, positive = _hinge(found, chosen, margin)
    else:
        total, positive = _one_by_one(found, chosen, lambda gaps: F.relu(gaps + margin))
    if reduction == "sum":
        return total
    number = positive if reduction == "non_zero" else count
    return total / number.clamp(min=1).to(total.dtype)


def _every(found: Tensor, same: Tensor, other: Tensor) -> Triplets:
    order = found.detach().masked_fill(~other, torch.inf).argsort(dim=1)
    high = other.sum(dim=1, keepdim=True) * same
    return Triplets(order, torch.zeros_like(high), high)


def _in_order(found: Tensor, chosen: Triplets) -> bool:
    """Whether every range goes from near to far by this distance too."""
    steps = found.detach().gather(1, chosen.order).diff(dim=1)
    before = torch.arange(steps.shape[1], device=steps.device) < _last(chosen) - 1
    return not bool(((steps < 0) & before).any())


def _last(chosen: Triplets) -> Tensor:
    """Where the last range of each anchor ends."""
    return F.pad(chosen.high, (1, 0)).amax(dim=1, keepdim=True)


def _hinge(found: Tensor, chosen: Triplets, margin: float) -> tuple[Tensor, Tensor]:
    """Sum over the triplets, and how many have a loss above 0; ranges go from near to far."""
    order, low, high = chosen
    # Differences of long sums: in double precision where there is one.
    precise = found if found.device.type == "mps" else found.double()
    ranked = precise.gather(1, order)
    # Behind the last range distances need not rise.
    inside = torch.arange(order.shape[1], device=order.device) < _last(chosen)
    limits = precise + margin
    rising = ranked.detach().masked_fill(~inside, torch.inf)
    cut = torch.searchsorted(rising, limits.detach().contiguous()).minimum(high).maximum(low)
    number = cut - low
    sums = F.pad(ranked.cumsum(dim=1), (1, 0))
    losses = number * limits - (sums.gather(1, cut) - sums.gather(1, low))
    return losses.masked_fill(number == 0, 0.0).sum().to(found.dtype), number.sum()


def _one_by_one(
    found: Tensor, chosen: Triplets, function: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Sum of a function of the gaps of all triplets, and of how many it is above 0."""
    order, low, high = chosen
    anchors, others = (high > low).nonzero(as_tuple=True)
    ranks = torch.arange(found.shape[1], device=found.device)

    def values(rows: Tensor, anchors: Tensor, others: Tensor) -> Tensor:
        gaps = rows.gather(1, others[:, None]) - rows.gather(1, order[anchors])
        begins, ends = (side[anchors, others][:, None] for side in (low, high))
        return function(gaps).masked_fill((ranks < begins) | (ranks >= ends), 0.0)

    def losses(*part: Tensor) -> Tensor:
        return values(*part).sum(dim=1)

    def above(*part: Tensor) -> Tensor:
        return (values(*part) > 0).sum(dim=1).to(found.dtype)

    positive = per_pair(found.detach(), anchors, others, above).sum()
    return per_pair(found, anchors, others, losses).sum(), positive


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
        memory: Labelled | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
