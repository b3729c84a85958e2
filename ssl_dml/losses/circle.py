"""Circle loss: each similarity is weighted by its distance from its optimum."""

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import PairLoss, average, compare, log_sum_where
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def circle(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 0.25,
    scale: float = 256.0,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Circle loss on cosines s, the mean over anchors that have a positive and a negative.

    .. math:: \log \Big( 1 + \sum_n e^{\gamma [s_n + m]_+ (s_n - m)}
        \sum_p e^{-\gamma [1 + m - s_p]_+ (s_p - 1 + m)} \Big)

    The weights in brackets have no gradient.

    Args:
        embeddings: Rows; normalized here.
        labels: Class of each row.
        margin: m, from 0 to 1. The paper takes 0.25 for faces and 0.4 for retrieval.
        scale: :math:`\gamma`, above 0. The paper takes 256 for faces and 80 for retrieval.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets whose pairs count; None for all pairs.

    Raises:
        ValueError: If ``margin`` or ``scale`` is outside its range.

    Examples:
        Four equal rows of two classes cost ``scale * (1 - 2 * margin**2) + log(2)``:

        >>> import torch
        >>> from ssl_dml.losses import circle
        >>> circle(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]), margin=0.5, scale=80.0)
        tensor(40.6931)

    References:
        Sun et al., 2020, arXiv:2002.10857, eq. 8.
    """
    checks.in_range(0, 1, margin=margin)
    checks.positive(scale=scale)
    found, positive, negative = compare(embeddings, labels, memory, mined, "cosine")
    cosines = 1 - found
    fixed = cosines.detach()
    pull = -scale * (1 + margin - fixed).clamp(min=0) * (cosines - 1 + margin)
    push = scale * (fixed + margin).clamp(min=0) * (cosines - margin)
    total = log_sum_where(pull, positive) + log_sum_where(push, negative)
    return average(F.softplus(total), positive.any(dim=1) & negative.any(dim=1))


@final
class Circle(PairLoss, function=circle):
    """Module form of :func:`circle`.

    Args:
        margin: From 0 to 1.
        scale: Above 0.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import Circle
        >>> Circle(margin=0.5, scale=80.0)(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(40.6931)
    """
