"""Which latent lies ahead of a context, as a classification among latents of other places."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

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
    """Score of every prediction with its own target, which comes first, and with its negatives.

    The target of ``predictions[b, p]`` is ``targets[first_row + b, p]``, and a score is their
    dot product: nothing is normalized. Positions are steps in time or cells of a grid.
    Each prediction meets ``all + positions`` candidates at most, so the full matrix of
    ``batch * positions`` by ``all * positions`` never exists.

    Args:
        predictions: Linear maps of contexts.
        targets: Latents of the samples of all processes, those of ``predictions`` among them.
        first_row: Row of ``targets`` that belongs to the first sample of ``predictions``.
        negatives: ``batch`` takes the other samples at the same position, ``sequence`` the other
            positions of the same sample, ``both`` takes both.
        scale: Factor on the scores, above 0. The paper has 1; Rivière et al., 2020,
            arXiv:2002.02848, divide by the dimension in their code.

    Returns:
        Scores with the positive in column 0. Where the positive would stand among the negatives
        there is minus infinity.

    Raises:
        ValueError: If ``scale`` is not positive, or ``first_row`` does not fit.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 3.
    """
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    batch, positions, _ = predictions.shape
    if not 0 <= first_row <= len(targets) - batch:
        raise ValueError(f"first_row must leave {batch} of {len(targets)} targets, got {first_row}")
    predictions = predictions * scale
    own = targets[first_row : first_row + batch]
    scores = [(predictions * own).sum(dim=2, keepdim=True)]
    if negatives != "sequence":
        others = torch.einsum("bpd,apd->bpa", predictions, targets)
        rows = torch.arange(len(targets), device=others.device)
        itself = rows == rows[first_row : first_row + batch, None, None]
        scores.append(others.masked_fill(itself, -torch.inf))
    if negatives != "batch":
        elsewhere = predictions @ own.transpose(1, 2)
        itself = torch.eye(positions, device=elsewhere.device, dtype=torch.bool)
        scores.append(elsewhere.masked_fill(itself, -torch.inf))
    return torch.cat(scores, dim=2)


@full_precision
def cpc(scores: Float[Tensor, "batch positions candidates"]) -> Float[Tensor, ""]:
    r"""InfoNCE of contrastive predictive coding: cross-entropy of the first candidate.

    .. math:: -\frac{1}{BP} \sum_{bp} \log \frac{e^{s_{bp0}}}{\sum_c e^{s_{bpc}}}

    Args:
        scores: See :func:`cpc_scores`.

    Returns:
        Mean over samples and positions, in nats; the logarithm of the number of candidates when
        all score the same, and 0 where there are no negatives.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 4.
    """
    return (scores.logsumexp(dim=2) - scores[:, :, 0]).mean()
