"""Contrastive predictive coding: classify the latent that follows a context."""

from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.precision import full_precision

Negatives = Literal["batch", "sequence", "both"]


@full_precision
def cpc_scores(
    predictions: Float[Tensor, "batch positions dim"],
    targets: Float[Tensor, "all positions dim"],
    *,
    first_row: int = 0,
    negatives: Negatives = "both",
    scale: float = 1.0,
) -> Float[Tensor, "batch positions candidates"]:
    """Score each prediction against its own target, which comes first, and its negatives.

    The target of ``predictions[b, p]`` is ``targets[first_row + b, p]``. A score is a dot product
    of rows as they are. Positions are steps in time or cells of a grid. Each prediction has at
    most ``all + positions`` candidates, so the matrix of ``batch * positions`` by
    ``all * positions`` is never made.

    Args:
        predictions: Linear maps of contexts.
        targets: Latents of the samples of all processes, including those of ``predictions``.
        first_row: Row of ``targets`` that belongs to the first sample of ``predictions``.
        negatives: ``batch`` takes the other samples at the same position, ``sequence`` the other
            positions of the same sample, and ``both`` takes both.
        scale: Factor on the scores, above 0. The paper has 1; Rivière et al., 2020,
            arXiv:2002.02848, divide by the dimension in their code.

    Returns:
        Scores with the positive in column 0. A second copy of the positive among the negatives
        is minus infinity.

    Raises:
        ValueError: If ``scale`` is not positive, or ``first_row`` does not fit.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import cpc_scores
        >>> predictions, targets = torch.ones(1, 1, 4), torch.ones(3, 1, 4)
        >>> cpc_scores(predictions, targets, negatives="batch")
        tensor([[[4., -inf, 4., 4.]]])

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 3.
    """
    checks.positive(scale=scale)
    batch, positions, _ = predictions.shape
    checks.in_range(0, len(targets) - batch, first_row=first_row)
    predictions = predictions * scale
    own = targets[first_row : first_row + batch]
    scores = [(predictions * own).sum(dim=2, keepdim=True)]
    if negatives != "sequence":
        across = torch.einsum("bpd,apd->bpa", predictions, targets)
        rows = torch.arange(len(targets), device=across.device)
        itself = rows == rows[first_row : first_row + batch, None, None]
        scores.append(across.masked_fill(itself, -torch.inf))
    if negatives != "batch":
        within = predictions @ own.transpose(1, 2)
        itself = torch.eye(positions, device=within.device, dtype=torch.bool)
        scores.append(within.masked_fill(itself, -torch.inf))
    return torch.cat(scores, dim=2)


@full_precision
def cpc(scores: Float[Tensor, "batch positions candidates"]) -> Float[Tensor, ""]:
    r"""InfoNCE of contrastive predictive coding: cross-entropy of the first candidate.

    .. math:: -\frac{1}{BP} \sum_{bp} \log \frac{e^{s_{bp0}}}{\sum_c e^{s_{bpc}}}

    Args:
        scores: See :func:`cpc_scores`.

    Returns:
        Mean over samples and positions, in nats; 0 if there are no negatives.

    Examples:
        Equal scores cost the logarithm of the number of candidates:

        >>> import torch
        >>> from ssl_dml.losses import cpc
        >>> cpc(torch.zeros(2, 3, 6))
        tensor(1.7918)

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 4.
    """
    return (scores.logsumexp(dim=2) - scores[:, :, 0]).mean()


@final
class CPC(Loss, function=cpc):
    """Module form of :func:`cpc`; it has no options.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import CPC
        >>> CPC()(torch.zeros(2, 3, 6))
        tensor(1.7918)
    """
