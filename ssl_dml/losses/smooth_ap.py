"""Smooth-AP: average precision with sigmoids in place of steps."""

from functools import partial
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import PairLoss
from ssl_dml.losses.chunks import per_pair
from ssl_dml.pair_masks import pair_masks
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Query = Literal["left_out", "counted"]


@full_precision
def smooth_ap(
    embeddings: Embeddings,
    labels: Labels,
    *,
    temperature: float = 0.01,
    query: Query = "left_out",
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""1 less the smoothed average precision, a mean over anchors that have a positive.

    .. math:: AP_a = \frac{1}{|P_a|} \sum_{p \in P_a} \frac{1 + \sum_{q \in P_a \setminus p}
        \sigma((s_{aq} - s_{ap}) / \tau)}{1 + \sum_{j \ne p} \sigma((s_{aj} - s_{ap}) / \tau)}

    Cosines s of an anchor are compared with each other a part at a time, so memory is that of
    pairs.

    Args:
        embeddings: Rows; normalized here.
        labels: Class of each.
        temperature: :math:`\tau`, above 0; a difference of cosines of as much is nearly a step.
        query: Whether the anchor itself is one of its own positives, at a cosine of 1. The paper
            ranks the others; the authors' code and pytorch-metric-learning count it.
        memory: Further rows that the batch is compared with.
        mined: Pairs that count are those in its triplets; None for all.

    Returns:
        From 0, where every positive is well before every negative, to below 1.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        Brown et al., 2020, arXiv:2007.12163, eq. 7.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    pairs = pair_masks(embeddings, labels, memory)
    cosines = 1 - distances(pairs.anchors, pairs.references, kind="cosine")
    _, _, same, other = pairs.mined(mined)
    counted = same.any(dim=1)
    if query == "counted":
        same = same | torch.eye(*same.shape, dtype=torch.bool, device=same.device)
        same = same & counted[:, None]
    anchors, positives = same.nonzero(as_tuple=True)
    everyone = same | other

    def precision(rows: Tensor, anchors: Tensor, positives: Tensor) -> Tensor:
        own = rows.gather(1, positives[:, None])
        before = ((rows - own) / temperature).sigmoid().scatter(1, positives[:, None], 0.0)
        found = 1 + (before * same[anchors]).sum(dim=1)
        return found / (1 + (before * everyone[anchors]).sum(dim=1))

    precisions = per_pair(cosines, anchors, positives, precision)
    fraction = 1 / same.sum(dim=1).clamp(min=1)
    total = counted.sum() - (precisions * fraction[anchors]).sum()
    return total / counted.sum().clamp(min=1)


@final
class SmoothAP(PairLoss):
    """Module form of :func:`smooth_ap`.

    Args:
        temperature: Above 0.
        query: ``left_out`` or ``counted``.
    """

    def __init__(self, *, temperature: float = 0.01, query: Query = "left_out") -> None:
        super().__init__()
        self.loss = partial(smooth_ap, temperature=temperature, query=query)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        return self.loss(embeddings, labels, memory=memory, mined=mined)
