"""Lifted structure: each pair of a class against all negatives of both its ends."""

from functools import partial
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import PairLoss, average
from ssl_dml.pair_masks import pair_masks
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

LiftedVariant = Literal["smooth", "hardest", "generalized"]


@full_precision
def lifted(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 1.0,
    variant: LiftedVariant = "smooth",
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Lifted structured loss, on Euclidean distances D of the rows as they are.

    .. math:: \frac{1}{2 |P|} \sum_{(i, j) \in P} \max(0, J_{ij})^2, \quad J_{ij} = D_{ij} +
        \log \Big( \sum_{k \in N_i} e^{m - D_{ik}} + \sum_{l \in N_j} e^{m - D_{jl}} \Big)

    The negatives of a row of the memory are the anchors of other classes. A pair without a
    negative does not count.

    Args:
        embeddings: Rows.
        labels: Class of each.
        margin: m.
        variant: ``smooth`` is eq. 4 of the paper, ``hardest`` its eq. 3 with the largest term in
            place of the logarithm; ``generalized`` is, for each anchor, the hinge of the smooth
            maximum over its positives plus that over its negatives (Hermans et al.), which is
            what pytorch-metric-learning's ``GeneralizedLiftedStructureLoss`` computes.
        memory: Further rows that the batch is compared with.
        mined: Pairs that count are those in its triplets; None for all.

    References:
        Oh Song et al., 2016, arXiv:1511.06452, eq. 3 and 4; generalized: Hermans et al., 2017,
        arXiv:1703.07737, eq. 10.
    """
    pairs = pair_masks(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references)
    _, _, same, other = pairs.mined(mined)
    push = (margin - found).masked_fill(~other, -torch.inf)
    if variant == "generalized":
        counted = same.any(dim=1) & other.any(dim=1)
        pull = found.masked_fill(~same, -torch.inf)
        both = _log_sum(pull, 1) + _log_sum(push, 1)
        return average(both.masked_fill(~counted, 0.0).clamp(min=0), counted)
    reduce, join = (_log_sum, torch.logaddexp) if variant == "smooth" else (_largest, torch.maximum)
    own, batch = reduce(push, 1), len(embeddings)
    ends = join(own[:, None], torch.cat([own, reduce(push[:, batch:], 0)]))
    pushed = other.any(dim=1)
    counted = same & (pushed[:, None] | torch.cat([pushed, other[:, batch:].any(dim=0)]))
    hinge = (found + ends).masked_fill(~counted, 0.0).clamp(min=0)
    return average(hinge.square(), counted) / 2


FLOOR = -1e30


def _log_sum(values: Tensor, dim: int) -> Tensor:
    """Log of the sum of exponentials, far below all others where there is nothing to sum.

    An infinity there would make NaN of the gradient.
    """
    nothing = (values == -torch.inf).all(dim=dim, keepdim=True)
    return values.masked_fill(nothing, FLOOR).logsumexp(dim=dim)


def _largest(values: Tensor, dim: int) -> Tensor:
    floor = values.new_full((len(values), 1) if dim == 1 else (1, values.shape[1]), FLOOR)
    return torch.cat([floor, values], dim=dim).amax(dim=dim)


@final
class Lifted(PairLoss):
    """Module form of :func:`lifted`.

    Args:
        margin: Distance at which a negative weighs 1.
        variant: ``smooth``, ``hardest`` or ``generalized``.
    """

    def __init__(self, *, margin: float = 1.0, variant: LiftedVariant = "smooth") -> None:
        super().__init__()
        self.loss = partial(lifted, margin=margin, variant=variant)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
