"""Triplet loss: a positive is nearer to its anchor than a negative, by a margin."""

from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.distances import Distance, distances
from ssl_dml.losses.base import PairLoss, Reduction
from ssl_dml.losses.chunks import VALUES_PER_CHUNK, per_pair
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
    r"""Hinge over all triplets of an anchor, a positive and a negative, in the memory of pairs.

    .. math:: \max(0, \; d_{ap} - d_{an} + m)

    The negatives of each anchor are sorted once, and a binary search counts those within the
    margin of each positive. Only the soft margin loops over triplets, a chunk at a time.

    Args:
        embeddings: Rows.
        labels: Class of each row.
        margin: m, in the unit of the distance, at least 0. None is the soft margin
            :math:`\log(1 + e^{d_{ap} - d_{an}})`.
        distance: d. FaceNet takes squared distances of unit rows.
        reduction: ``mean`` over triplets; ``non_zero``, the mean over triplets whose loss is not
            0, pytorch-metric-learning's default; or the ``sum``.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets that count; None for all. Triplets that a miner ranked by the same order of
            distances are summed without a loop.

    Returns:
        0 where every negative is farther than every positive by the margin, or there is no
        triplet.

    Raises:
        ValueError: If ``margin`` is negative.

    Examples:
        Equal rows cost the margin:

        >>> import torch
        >>> from ssl_dml.losses import triplet
        >>> triplet(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]), margin=0.5)
        tensor(0.5000)

    References:
        Schroff et al., 2015, arXiv:1503.03832, eq. 1; soft margin: Hermans et al., 2017,
        arXiv:1703.07737.
    """
    checks.at_least(0, margin=margin)
    pairs = pair_masks(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references, kind=distance)
    chosen = mined or _all_triplets(found, pairs)
    count = active = (chosen.high - chosen.low).sum()

    def function(gaps: Tensor) -> Tensor:
        return F.softplus(gaps) if margin is None else F.relu(gaps + margin)

    def is_active(gaps: Tensor) -> Tensor:
        return (function(gaps) > 0).to(gaps)

    here = found.device.type == "cpu"  # for another device the host would wait
    if here and (number := int(count)) <= found.numel():
        losses = _listed(found, chosen, function, number)
        total, active = losses.sum(), (losses > 0).sum()
    elif margin is not None and _sorted(found, chosen, mined):
        total, active = _hinge(found, chosen, margin)
    else:
        total = _in_chunks(found, chosen, function)
        if reduction == "non_zero":
            active = _in_chunks(found.detach(), chosen, is_active)
    if reduction == "sum":
        return total
    divisor = active if reduction == "non_zero" else count
    return total / divisor.clamp(min=1).to(total.dtype)


def _all_triplets(found: Tensor, pairs: PairMasks) -> Triplets:
    anchors, positives = pairs.positive.nonzero(as_tuple=True)
    order = found.detach().masked_fill(~pairs.negative, torch.inf).argsort(dim=1)
    high = pairs.negative.sum(dim=1)[anchors]
    return Triplets(order, anchors, positives, torch.zeros_like(high), high)


def _sorted(found: Tensor, chosen: Triplets, mined: Triplets | None) -> bool:
    """Whether the negatives of every range are sorted by these distances too.

    On a device a miner's are not looked at, and a few of all triplets need no search either.
    """
    if found.device.type != "cpu":
        few = len(chosen.anchors) * found.shape[1] <= VALUES_PER_CHUNK
        return mined is None and not few
    if mined is None:
        return True
    steps = found.detach().gather(1, chosen.order).diff(dim=1)
    return not bool(((steps < 0) & _within(chosen)[:, 1:]).any())


def _within(chosen: Triplets) -> Tensor:
    """Mask of the ranks that a range of the anchor may reach."""
    last = chosen.high.new_zeros(len(chosen.order), 1)
    last = last[:, 0].scatter_reduce(0, chosen.anchors, chosen.high, "amax")[:, None]
    return torch.arange(chosen.order.shape[1], device=last.device) < last


def _hinge(found: Tensor, chosen: Triplets, margin: float) -> tuple[Tensor, Tensor]:
    """Sum of the hinge over sorted ranges, and the number of triplets above 0.

    One pair of an anchor and a positive at distance d, with the anchor's negatives from near to
    far; its range is from low = 1 to high = 5::

        rank        0     1     2     3  |  4     5
        negative    n0    n1    n2    n3 |  n4    n5
                          [-- cost > 0 --|- 0 -)
                         low           cut    high        d + margin lies at the |

    ``cut`` is found by binary search. The pair costs the sum of ``d + margin - d(n)`` over n1, n2
    and n3: linear in the distances. So it is enough to count how often each distance occurs:
    ``cut - low`` times for the positive, and -1 times for each pair whose range covers a negative.
    """
    order, anchors, positives, low, high = chosen
    with torch.no_grad():
        # Beyond the last range, distances need not be sorted.
        rising = found.gather(1, order).masked_fill_(~_within(chosen), torch.inf)
        limits = found[anchors, positives] + margin
        cut = batched_searchsorted(limits, rising, anchors, or_equal=False)
        cut = cut.minimum(high).maximum(low)
        number = cut - low
        weights = torch.zeros_like(found)
        weights.scatter_(1, order, count_ranges(chosen, low, cut).to(found).neg_())
        weights[anchors, positives] = number.to(found)
    # Differences of long sums need double precision, which Apple GPUs lack.
    precise = found if found.device.type == "mps" else found.double()
    total = (precise * weights).sum() + margin * number.sum().to(precise.dtype)
    return total.to(found.dtype), number.sum()


Function = Callable[[Tensor], Tensor]


def _listed(found: Tensor, chosen: Triplets, function: Function, number: int) -> Tensor:
    """Apply a function to the gap d(a, p) - d(a, n) of each triplet, listed one by one.

    Two pairs whose ranges are from 1 to 3 and from 0 to 1 make three triplets::

        pair of each triplet   0  0  1        widths = [2, 1]
        rank of its negative   1  2  0        counts up from the low of its pair
    """
    order, anchors, positives, low, high = chosen
    widths = high - low
    pairs = torch.arange(len(widths), device=widths.device)
    pairs = pairs.repeat_interleave(widths, output_size=number)
    begins = widths.cumsum(dim=0) - widths - low
    ranks = torch.arange(len(pairs), device=widths.device) - begins[pairs]
    rows = anchors * found.shape[1]
    flat = found.flatten()
    near = flat.index_select(0, rows + positives).index_select(0, pairs)
    far = flat.index_select(0, rows[pairs] + order[anchors[pairs], ranks])
    return function(near - far)


def _in_chunks(found: Tensor, chosen: Triplets, function: Function) -> Tensor:
    """Sum a function of the gaps of triplets that are too many to be listed.

    Each chunk is a block of pairs by ranks, and a mask keeps the range of each pair::

        rank     0  1  2  3  4
        pair 0   .  x  x  .  .      range from 1 to 3
        pair 1   x  x  x  x  .      range from 0 to 4
    """
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
class Triplet(PairLoss, function=triplet):
    """Module form of :func:`triplet`.

    Args:
        margin: At least 0; None is the soft margin.
        distance: ``euclidean``, ``squared``, ``cosine``, ``dot``, or a
            :class:`~ssl_dml.distances.Mahalanobis`.
        reduction: ``mean``, ``non_zero`` or ``sum``.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import Triplet
        >>> Triplet(margin=0.5)(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(0.5000)
    """
