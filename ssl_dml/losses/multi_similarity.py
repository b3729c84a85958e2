"""Multi-similarity: a pair is weighted by its own similarity and by its anchor's other pairs."""

from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import PairLoss, compare, log_sum_where
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def multi_similarity(
    embeddings: Embeddings,
    labels: Labels,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Multi-similarity loss on cosines s.

    .. math:: \frac1B \sum_i \Big( \frac1\alpha \log \big( 1 + \sum_{p} e^{-\alpha (s_{ip} -
        \lambda)} \big) + \frac1\beta \log \big( 1 + \sum_{n} e^{\beta (s_{in} - \lambda)}
        \big) \Big)

    Args:
        embeddings: Rows; normalized here.
        labels: Class of each row.
        alpha: Sharpness among positives, above 0.
        beta: Sharpness among negatives, above 0.
        base: :math:`\lambda`, a cosine.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets whose pairs count, in the paper those of
            :class:`~ssl_dml.mining.MultiSimilarityMiner`; None for all pairs.

    Raises:
        ValueError: If ``alpha`` or ``beta`` is not positive.

    Examples:
        Two equal rows of two classes cost about ``1 - base``:

        >>> import torch
        >>> from ssl_dml.losses import multi_similarity
        >>> multi_similarity(torch.ones(2, 3), torch.tensor([0, 1]))
        tensor(0.5000)

    References:
        Wang et al., 2019, arXiv:1904.06627, eq. 15.
    """
    checks.positive(alpha=alpha, beta=beta)
    found, positive, negative = compare(embeddings, labels, memory, mined, "cosine")
    cosines = 1 - found
    pull = _log_one_plus_sum(-alpha * (cosines - base), positive) / alpha
    push = _log_one_plus_sum(beta * (cosines - base), negative) / beta
    return (pull + push).sum() / max(1, len(embeddings))


def _log_one_plus_sum(values: Tensor, mask: Bool[Tensor, "rows columns"]) -> Tensor:
    total = log_sum_where(values, mask)
    return torch.logaddexp(total, torch.zeros_like(total))


@final
class MultiSimilarity(PairLoss, function=multi_similarity):
    """Module form of :func:`multi_similarity`.

    Args:
        alpha: Sharpness among positives, above 0.
        beta: Sharpness among negatives, above 0.
        base: A cosine.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import MultiSimilarity
        >>> MultiSimilarity(base=0.25)(torch.ones(2, 3), torch.tensor([0, 1]))
        tensor(0.7500)
    """
