"""Similarity distillation: rows learn which others are near to them in another embedding."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.precision import full_precision, unit_rows


@full_precision
def similarity_distillation(
    student: Float[Tensor, "batch dim"],
    teacher: Float[Tensor, "batch wide"],
    student_keys: Float[Tensor, "all dim"],
    teacher_keys: Float[Tensor, "all wide"],
    *,
    first_row: int = 0,
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Cross-entropy between the similarities of a teacher and of a student to the same samples.

    .. math:: -\frac1B \sum_i \sum_{j \ne i} p^T_{ij} \log p^S_{ij}, \qquad
        p^X_i = \mathrm{softmax}_{j \ne i}(x_i \cdot x_j / \tau)

    Each embedding is compared with its own kind, so the two may have different dimensions. Rows
    are normalized here; no gradient reaches the teacher.

    Args:
        student: Embeddings that learn.
        teacher: Embeddings of the same samples that they learn from.
        student_keys: Embeddings of the student of all samples to compare with, its own among them.
        teacher_keys: The same of the teacher.
        first_row: Row of the keys that is the first row of ``student``.
        temperature: :math:`\tau`, above 0; small ones look at the nearest samples only.

    Returns:
        Mean over the batch, in nats; ``log(all - 1)`` where all samples are alike, and 0 without
        other samples.

    Raises:
        ValueError: If ``temperature`` is not positive, or ``first_row`` does not fit.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import similarity_distillation
        >>> same, other = torch.ones(4, 2), torch.ones(4, 3)
        >>> similarity_distillation(same, other, same, other)
        tensor(1.0986)

    References:
        Abbasi Koohpayegani et al., 2020, arXiv:2010.14713, eq. 1 and 2, which has anchors of a
        queue and the divergence, where the samples of a batch and the cross-entropy are here.
    """
    checks.positive(temperature=temperature)
    checks.in_range(0, len(student_keys) - len(student), first_row=first_row)
    columns = torch.arange(len(student_keys), device=student.device)
    own = columns == columns[first_row : first_row + len(student), None]
    lowest = torch.finfo(student.dtype).min  # finite: the product with a probability of 0 is 0
    wanted, found = (
        (unit_rows(rows) @ unit_rows(keys).T / temperature).masked_fill(own, lowest)
        for rows, keys in ((teacher.detach(), teacher_keys.detach()), (student, student_keys))
    )
    terms = wanted.softmax(dim=1) * found.log_softmax(dim=1)
    return -terms.masked_fill(own, 0.0).sum(dim=1).mean()


@final
class SimilarityDistillation(Loss, function=similarity_distillation):
    """Module form of :func:`similarity_distillation`.

    Args:
        temperature: Above 0.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import SimilarityDistillation
        >>> rows = torch.eye(3)
        >>> SimilarityDistillation(temperature=1.0)(rows, rows, rows, rows)
        tensor(0.6931)
    """
