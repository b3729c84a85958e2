"""Continuous labels: distances of embeddings follow distances of labels."""

from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.distances import distances
from ssl_dml.losses.base import Loss, average
from ssl_dml.losses.chunks import per_pair
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings

MIN_DISTANCE = 1e-6  # smaller distances have the logarithm of this one


@full_precision
def log_ratio(
    embeddings: Embeddings,
    targets: Float[Tensor, "targets *values"],
    *,
    anchors: int | None = None,
) -> Float[Tensor, ""]:
    r"""Log-ratio loss: ratios of squared distances D equal those of the labels.

    .. math:: \ell(a, i, j) = \Big( \log \frac{D(f_a, f_i)}{D(f_a, f_j)}
        - \log \frac{D(y_a, y_i)}{D(y_a, y_j)} \Big)^2

    It is the mean over the pairs i < j of each anchor, and over anchors. This is twice the
    variance of :math:`\log D(f_a, f_i) - \log D(y_a, y_i)`, so the triplets are never made.
    Equal labels have no ratio and are left out. The authors' code takes unsquared distances,
    which is a quarter of this.

    Args:
        embeddings: Rows, of any length.
        targets: Continuous label of each row: one value, or a vector such as a pose.
        anchors: Number of first rows that are anchors; the authors' batches have one. None for
            all.

    Returns:
        0 where distances are proportional to those of the labels, or there is nothing to compare.

    Raises:
        ValueError: If ``anchors`` is not from 1 to the batch.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import log_ratio
        >>> rows = torch.tensor([[0.0], [1.0], [2.0]])
        >>> log_ratio(rows, torch.tensor([0.0, 3.0, 6.0]))
        tensor(0.)
        >>> log_ratio(rows, torch.tensor([0.0, 1.0, 4.0]), anchors=1)  # log(4) ** 2
        tensor(1.9218)

    References:
        Kim et al., 2019, arXiv:1904.09626, eq. 3.
    """
    own, label, counted = _against_anchors(embeddings, targets, anchors, squared=False)
    counted = counted & (label > 0)
    number = counted.sum(dim=1)
    logs = own.clamp(min=MIN_DISTANCE).log() - label.masked_fill(~counted, 1.0).log()
    logs = (2 * logs).masked_fill(~counted, 0.0)
    means = logs.sum(dim=1, keepdim=True) / number.clamp(min=1)[:, None]
    spread = (logs - means).masked_fill(~counted, 0.0).square().sum(dim=1)
    return average(2 * spread / (number - 1).clamp(min=1), number > 1)


@full_precision
def dense_triplet(
    embeddings: Embeddings,
    targets: Float[Tensor, "targets *values"],
    *,
    margin: float = 0.2,
    anchors: int | None = None,
) -> Float[Tensor, ""]:
    r"""Triplet loss: the row with the nearer label is nearer by a margin.

    .. math:: \max(0, \; \|f_a - f_i\|^2 - \|f_a - f_j\|^2 + m), \quad D(y_a, y_i) < D(y_a, y_j)

    Args:
        embeddings: Rows.
        targets: Continuous label of each row: one value, or a vector.
        margin: m, at least 0.
        anchors: Number of first rows that are anchors; None for all.

    Returns:
        Mean over all triplets of all anchors; 0 if there is none.

    Raises:
        ValueError: If ``margin`` is negative, or ``anchors`` is not from 1 to the batch.

    Examples:
        Equal rows cost the margin:

        >>> import torch
        >>> from ssl_dml.losses import dense_triplet
        >>> dense_triplet(torch.ones(3, 2), torch.tensor([0.0, 1.0, 3.0]), margin=0.5)
        tensor(0.5000)

    References:
        Kim et al., 2019, arXiv:1904.09626, sec. 4.3: the baseline with dense triplets.
    """
    checks.at_least(0, margin=margin)
    own, label, counted = _against_anchors(embeddings, targets, anchors, squared=True)

    def of_pairs(rows: Tensor, anchors: Tensor, nearer: Tensor) -> Tensor:
        limits = label[anchors, nearer][:, None]
        farther = (label[anchors] > limits) & counted[anchors]
        hinge = (rows.gather(1, nearer[:, None]) - rows + margin).clamp(min=0)
        return hinge.masked_fill(~farther, 0.0).sum(dim=1)

    rows, others = counted.nonzero(as_tuple=True)
    total = per_pair(own, rows, others, of_pairs).sum()
    ranked = label.masked_fill(~counted, torch.inf).sort(dim=1).values
    number = counted.sum(dim=1, keepdim=True)
    nearer = torch.searchsorted(ranked, label.contiguous(), right=True).minimum(number)
    triplets = ((number - nearer) * counted).sum()
    return total / triplets.clamp(min=1).to(total.dtype)


def _against_anchors(
    embeddings: Embeddings, targets: Tensor, anchors: int | None, *, squared: bool
) -> tuple[Tensor, Tensor, Bool[Tensor, "anchors batch"]]:
    """Distances of rows and of labels from each anchor, and a mask without the anchor itself."""
    checks.in_range(1, len(embeddings), anchors=anchors)
    if len(targets) != len(embeddings):
        raise ValueError(f"targets need one entry a row: {len(targets)} for {len(embeddings)} rows")
    values = targets.to(embeddings).reshape(len(targets), -1)
    own = distances(embeddings, kind="squared" if squared else "euclidean")[:anchors]
    label = torch.cdist(values[:anchors], values, compute_mode="donot_use_mm_for_euclid_dist")
    counted = ~torch.eye(*own.shape, dtype=torch.bool, device=own.device)
    return own, label, counted


@final
class LogRatio(Loss, function=log_ratio):
    """Module form of :func:`log_ratio`.

    Args:
        anchors: Number of first rows that are anchors; None for all.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import LogRatio
        >>> LogRatio(anchors=1)(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0.0, 1.0, 4.0]))
        tensor(1.9218)
    """


@final
class DenseTriplet(Loss, function=dense_triplet):
    """Module form of :func:`dense_triplet`.

    Args:
        margin: Of squared distances, at least 0.
        anchors: Number of first rows that are anchors; None for all.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import DenseTriplet
        >>> DenseTriplet(margin=0.5)(torch.ones(3, 2), torch.tensor([0.0, 1.0, 3.0]))
        tensor(0.5000)
    """
