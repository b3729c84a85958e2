"""Continuous labels: distances of embeddings are to follow distances of labels."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import average
from ssl_dml.losses.chunks import per_pair
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings

LogRatioVariant = Literal["squared", "plain", "official"]
NEAREST = 1e-6


@full_precision
def log_ratio(
    embeddings: Embeddings,
    targets: Float[Tensor, "targets *values"],
    *,
    variant: LogRatioVariant = "squared",
    anchors: int | None = None,
) -> Float[Tensor, ""]:
    r"""Log-ratio loss: ratios of distances are to be those of the labels.

    .. math:: \ell(a, i, j) = \Big( \log \frac{D(f_a, f_i)}{D(f_a, f_j)}
        - \log \frac{D(y_a, y_i)}{D(y_a, y_j)} \Big)^2

    averaged over the pairs i < j of each anchor, and over anchors. It is twice the variance of
    :math:`\log D(f_a, f_i) - \log D(y_a, y_i)`, so the triplets are never made.

    Args:
        embeddings: Rows; their length is free.
        targets: What each shows: a number, or a vector such as a pose.
        variant: ``squared`` has squared Euclidean distances D on both sides, as the paper;
            ``plain`` unsquared ones, which is a quarter; ``official`` is the authors' code: plain,
            with small numbers added, where equal labels count too.
        anchors: How many of the first rows are anchors; the authors' batches have one. None for
            all.

    Returns:
        0 where distances are proportional to those of the labels, or nothing can be compared.
        Equal labels have no ratio and are left out, except by ``official``.

    Raises:
        ValueError: If ``anchors`` is not from 1 to the batch.

    References:
        Kim et al., 2019, arXiv:1904.09626, eq. 3.
    """
    own, label, counted = _against_anchors(embeddings, targets, anchors, squared=False)
    number = counted.sum(dim=1)
    if variant == "official":
        own = (own.square() + 1e-4 / max(1, len(embeddings) - 1)).sqrt()
        logs = (own + NEAREST).log() - (label + NEAREST).log()
    else:
        counted = counted & (label > 0)
        number = counted.sum(dim=1)
        logs = own.clamp(min=NEAREST).log() - label.masked_fill(~counted, 1.0).log()
        logs = 2 * logs if variant == "squared" else logs
    logs = logs.masked_fill(~counted, 0.0)
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
    r"""Triplet loss over all triplets whose labels differ in distance.

    .. math:: \max(0, \; \|f_a - f_i\|^2 - \|f_a - f_j\|^2 + m), \quad D(y_a, y_i) < D(y_a, y_j)

    Args:
        embeddings: Rows.
        targets: What each shows: a number, or a vector.
        margin: m, at least 0.
        anchors: How many of the first rows are anchors; None for all.

    Returns:
        Mean over all triplets of all anchors; 0 if there is none.

    Raises:
        ValueError: If ``margin`` is negative, or ``anchors`` is not from 1 to the batch.

    References:
        Kim et al., 2019, arXiv:1904.09626, sec. 4.3: the baseline with dense triplets.
    """
    if margin < 0:
        raise ValueError(f"margin must be at least 0, got {margin}")
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
    """Distances of rows and of labels from each anchor, and which of them count."""
    count = len(embeddings) if anchors is None else anchors
    if anchors is not None and not 1 <= anchors <= len(embeddings):
        raise ValueError(f"anchors must be from 1 to the batch, {len(embeddings)}; got {anchors}")
    if len(targets) != len(embeddings):
        raise ValueError(f"targets need one entry a row: {len(targets)} for {len(embeddings)} rows")
    values = targets.to(embeddings).reshape(len(targets), -1)
    own = distances(embeddings, kind="squared" if squared else "euclidean")[:count]
    label = torch.cdist(values[:count], values, compute_mode="donot_use_mm_for_euclid_dist")
    counted = ~torch.eye(*own.shape, dtype=torch.bool, device=own.device)
    return own, label, counted
