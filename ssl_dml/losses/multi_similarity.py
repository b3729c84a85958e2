"""Multi-similarity: pairs weighted by themselves and by the others of their anchor."""

from functools import partial
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import PairLoss
from ssl_dml.pair_masks import pair_masks
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
        labels: Class of each.
        alpha: Sharpness among positives, above 0.
        beta: Sharpness among negatives, above 0.
        base: :math:`\lambda`, a cosine.
        memory: Further rows that the batch is compared with.
        mined: Pairs that count are those in its triplets; the paper's are of
            :class:`~ssl_dml.mining.MultiSimilarityMiner`. None for all.

    Raises:
        ValueError: If ``alpha`` or ``beta`` is not positive.

    References:
        Wang et al., 2019, arXiv:1904.06627, eq. 15.
    """
    if min(alpha, beta) <= 0:
        raise ValueError(f"alpha and beta must be positive, got {alpha} and {beta}")
    pairs = pair_masks(embeddings, labels, memory)
    cosines = 1 - distances(pairs.anchors, pairs.references, kind="cosine")
    _, _, same, other = pairs.mined(mined)
    pull = _soft_count(-alpha * (cosines - base), same) / alpha
    push = _soft_count(beta * (cosines - base), other) / beta
    return (pull + push).sum() / max(1, len(embeddings))


def _soft_count(values: Tensor, counted: Tensor) -> Tensor:
    """Log of 1 plus the sum of the exponentials that count."""
    one = values.new_zeros(len(values), 1)
    return torch.cat([one, values.masked_fill(~counted, -torch.inf)], dim=1).logsumexp(dim=1)


@final
class MultiSimilarity(PairLoss):
    """Module form of :func:`multi_similarity`.

    Args:
        alpha: Sharpness among positives, above 0.
        beta: Sharpness among negatives, above 0.
        base: A cosine.
    """

    def __init__(self, *, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5) -> None:
        super().__init__()
        self.loss = partial(multi_similarity, alpha=alpha, beta=beta, base=base)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
