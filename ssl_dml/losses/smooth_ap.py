"""Smooth-AP: average precision with sigmoids in place of steps."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import PairLoss, compare
from ssl_dml.losses.chunks import per_pair
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def smooth_ap(
    embeddings: Embeddings,
    labels: Labels,
    *,
    temperature: float = 0.01,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""1 minus the smoothed average precision, the mean over anchors that have a positive.

    .. math:: AP_a = \frac{1}{|P_a|} \sum_{p \in P_a} \frac{1 + \sum_{q \in P_a \setminus p}
        \sigma((s_{aq} - s_{ap}) / \tau)}{1 + \sum_{j \ne p} \sigma((s_{aj} - s_{ap}) / \tau)}

    The anchor itself is not ranked, as in the paper; the authors' code and
    pytorch-metric-learning count it as one of its positives. The cosines s are compared in
    chunks, so memory is that of pairs.

    Args:
        embeddings: Rows; normalized here.
        labels: Class of each row.
        temperature: :math:`\tau`, above 0. A difference of cosines of several times as much is
            nearly a step.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets whose pairs count; None for all pairs.

    Returns:
        From 0, where every positive is well before every negative, to below 1.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import smooth_ap
        >>> rows = torch.eye(2).repeat_interleave(2, dim=0)
        >>> smooth_ap(rows, torch.tensor([0, 0, 1, 1]))  # classes are apart
        tensor(0.)
        >>> smooth_ap(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))  # all are equal: 1 - 1 / 2
        tensor(0.5000)

    References:
        Brown et al., 2020, arXiv:2007.12163, eq. 7.
    """
    checks.positive(temperature=temperature)
    found, positive, negative = compare(embeddings, labels, memory, mined, "cosine")
    anchors, positives = positive.nonzero(as_tuple=True) if mined is None else mined[1:3]
    ranked = positive | negative

    def precision(rows: Tensor, anchors: Tensor, positives: Tensor) -> Tensor:
        own = rows.gather(1, positives[:, None])
        before = ((rows - own) / temperature).sigmoid().scatter(1, positives[:, None], 0.0)
        hits = 1 + (before * positive[anchors]).sum(dim=1)
        return hits / (1 + (before * ranked[anchors]).sum(dim=1))

    precisions = per_pair(1 - found, anchors, positives, precision)
    weights = positive / positive.sum(dim=1, keepdim=True).clamp(min=1)
    queries = positive.any(dim=1).sum()
    total = (precisions * weights[anchors, positives]).sum()
    return (queries - total) / queries.clamp(min=1)


@final
class SmoothAP(PairLoss, function=smooth_ap):
    """Module form of :func:`smooth_ap`.

    Args:
        temperature: Above 0.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import SmoothAP
        >>> SmoothAP(temperature=0.1)(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(0.5000)
    """
