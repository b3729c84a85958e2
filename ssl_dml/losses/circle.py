"""Circle loss: every similarity is weighted by how far it is from its optimum."""

from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import PairLoss, average
from ssl_dml.pair_masks import pair_masks
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
    r"""Circle loss on cosines s, a mean over anchors that have a positive and a negative.

    .. math:: \log \Big( 1 + \sum_n e^{\gamma [s_n + m]_+ (s_n - m)}
        \sum_p e^{-\gamma [1 + m - s_p]_+ (s_p - 1 + m)} \Big)

    The weights in brackets have no gradient.

    Args:
        embeddings: Rows; normalized here.
        labels: Class of each.
        margin: m, from 0 to 1; 0.25 for faces and 0.4 for retrieval in the paper.
        scale: :math:`\gamma`, above 0; 256 for faces and 80 for retrieval in the paper.
        memory: Further rows that the batch is compared with.
        mined: Pairs that count are those in its triplets; None for all.

    Raises:
        ValueError: If ``margin`` or ``scale`` is outside its range.

    References:
        Sun et al., 2020, arXiv:2002.10857, eq. 8.
    """
    if not 0 <= margin <= 1:
        raise ValueError(f"margin must be from 0 to 1, got {margin}")
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    pairs = pair_masks(embeddings, labels, memory)
    cosines = 1 - distances(pairs.anchors, pairs.references, kind="cosine")
    _, _, same, other = pairs.mined(mined)
    fixed = cosines.detach()
    pull = -scale * (1 + margin - fixed).clamp(min=0) * (cosines - 1 + margin)
    push = scale * (fixed + margin).clamp(min=0) * (cosines - margin)
    counted = same.any(dim=1) & other.any(dim=1)
    rows = counted[:, None]
    # Rows that do not count get a 0, as infinities alone would make NaN of the gradient.
    pull = pull.masked_fill(~same, -torch.inf).masked_fill(~rows, 0.0).logsumexp(dim=1)
    push = push.masked_fill(~other, -torch.inf).masked_fill(~rows, 0.0).logsumexp(dim=1)
    return average(F.softplus(pull + push), counted)


@final
class Circle(PairLoss):
    """Module form of :func:`circle`.

    Args:
        margin: From 0 to 1.
        scale: Above 0.
    """

    def __init__(self, *, margin: float = 0.25, scale: float = 256.0) -> None:
        super().__init__()
        self.loss = partial(circle, margin=margin, scale=scale)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
