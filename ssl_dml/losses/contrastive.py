"""Pairs: those of a class are drawn together, others pushed beyond a margin."""

from functools import partial
from typing import Literal, final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import PairLoss, average
from ssl_dml.pair_masks import pair_masks
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Variant = Literal["hadsell", "plain"]
Averaged = Literal["pairs", "kinds", "non_zero"]


@full_precision
def contrastive(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 1.0,
    variant: Variant = "hadsell",
    reduction: Averaged = "pairs",
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Contrastive loss of all pairs, on Euclidean distances d of the rows as they are.

    .. math:: \tfrac12 \big( y \, d^2 + (1 - y) \max(0, m - d)^2 \big)

    with y = 1 for a pair of a class (the paper has it the other way round).

    Args:
        embeddings: Rows.
        labels: Class of each.
        margin: m, the distance beyond which pairs of different classes rest; above 0.
        variant: ``hadsell`` is the paper's; ``plain`` is :math:`y d + (1 - y) \max(0, m - d)`, that
            of pytorch-metric-learning.
        reduction: ``pairs`` is the mean over all pairs; ``kinds`` the mean over pairs of a class
            plus that over the others; ``non_zero``, pytorch-metric-learning's, the same over
            pairs whose loss is not 0.
        memory: Further rows that the batch is compared with.
        mined: Pairs that count are those in its triplets; None for all.

    Returns:
        0 where classes are points at least a margin apart, or nothing can be compared.

    Raises:
        ValueError: If ``margin`` is not positive.

    References:
        Hadsell, Chopra and LeCun, 2006, "Dimensionality reduction by learning an invariant
        mapping", eq. 4; ``kinds`` suits a memory: Wang et al., 2020, arXiv:1912.06798.
    """
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    pairs = pair_masks(embeddings, labels, memory)
    found = distances(pairs.anchors, pairs.references)
    near, far = found, F.relu(margin - found)
    if variant == "hadsell":
        near, far = near.square() / 2, far.square() / 2
    _, _, same, other = pairs.mined(mined)
    if reduction == "pairs":
        return average(near.where(same, far), same | other)
    if reduction == "non_zero":
        same, other = same & (near > 0), other & (far > 0)
    return average(near, same) + average(far, other)


@final
class Contrastive(PairLoss):
    """Module form of :func:`contrastive`.

    Args:
        margin: The distance beyond which pairs of different classes rest; above 0.
        variant: ``hadsell`` (squares) or ``plain``.
        reduction: ``pairs``, ``kinds`` or ``non_zero``.
    """

    def __init__(
        self, *, margin: float = 1.0, variant: Variant = "hadsell", reduction: Averaged = "pairs"
    ) -> None:
        super().__init__()
        self.loss = partial(contrastive, margin=margin, variant=variant, reduction=reduction)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
