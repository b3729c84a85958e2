"""Contrastive loss: positives attract, negatives repel up to a margin."""

from typing import Literal, final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.distances import Distance
from ssl_dml.losses.base import PairLoss, average, compare
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Averaged = Literal["pairs", "kinds"]


@full_precision
def contrastive(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 1.0,
    distance: Distance = "euclidean",
    reduction: Averaged = "pairs",
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Contrastive loss of all pairs, on distances d of the rows as they are.

    .. math:: \tfrac12 \big( y \, d^2 + (1 - y) \max(0, m - d)^2 \big)

    with y = 1 for a positive pair (the paper has it the other way round).

    Args:
        embeddings: Rows.
        labels: Class of each row.
        margin: m, above 0. Negatives farther than this cost nothing.
        distance: d, Euclidean in the paper.
        reduction: ``pairs`` is the mean over all pairs. ``kinds`` is the mean over positive pairs
            plus the mean over negative pairs: it keeps the positives from being outnumbered where
            a memory adds many negatives.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets whose pairs count; None for all pairs.

    Returns:
        0 where classes are points at least a margin apart, or there is no pair.

    Raises:
        ValueError: If ``margin`` is not positive.

    Examples:
        Two equal rows of two classes cost half the square of the margin:

        >>> import torch
        >>> from ssl_dml.losses import contrastive
        >>> contrastive(torch.ones(2, 3), torch.tensor([0, 1]), margin=3.0)
        tensor(4.5000)

    References:
        Hadsell, Chopra and LeCun, 2006, "Dimensionality reduction by learning an invariant
        mapping", eq. 4; with a memory: Wang et al., 2020, arXiv:1912.06798.
    """
    checks.positive(margin=margin)
    found, positive, negative = compare(embeddings, labels, memory, mined, distance)
    near, far = found.square() / 2, F.relu(margin - found).square() / 2
    if reduction == "pairs":
        return average(near.where(positive, far), positive | negative)
    return average(near, positive) + average(far, negative)


@final
class Contrastive(PairLoss, function=contrastive):
    """Module form of :func:`contrastive`.

    Args:
        margin: Distance beyond which negatives cost nothing; above 0.
        distance: A name, or a :class:`~ssl_dml.distances.Mahalanobis`.
        reduction: ``pairs`` or ``kinds``.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import Contrastive
        >>> Contrastive(margin=3.0)(torch.ones(2, 3), torch.tensor([0, 1]))
        tensor(4.5000)
    """
