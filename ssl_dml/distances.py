"""Distances between all pairs of rows."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.precision import full_precision

Distance = Literal["euclidean", "squared", "cosine", "dot"]


@full_precision
def distances(
    rows: Float[Tensor, "rows dim"],
    others: Float[Tensor, "others dim"] | None = None,
    *,
    kind: Distance = "euclidean",
) -> Float[Tensor, "rows all"]:
    r"""How far each row is from each other one; a matrix, and nothing larger on the way.

    ``euclidean`` is :math:`\|a - b\|`, ``squared`` its square, ``cosine`` 1 minus the cosine, and
    ``dot`` the dot product with its sign turned, so that less is always nearer. Only the first is
    a metric (so is it on unit rows, where ``squared`` is twice ``cosine``).

    Rows that are equal are at a distance of 0 up to rounding, with finite gradients; a row is
    exactly 0 from itself, without gradient, except by ``dot``.

    Args:
        rows: Compared with ``others``, or with each other where there are none.
        others: What they are compared with.
        kind: Which distance.
    """
    others = rows if others is None else others
    itself = others is rows
    if kind == "dot":
        return -(rows @ others.T)
    if kind == "cosine":
        rows = F.normalize(rows, dim=1)
        found = 1 - rows @ (rows if itself else F.normalize(others, dim=1)).T
        return found.fill_diagonal_(0.0) if itself else found
    # Differences do not change when all move, and cancellation is least near the origin.
    center = others.detach().mean(dim=0) if len(others) else 0.0
    rows, others = rows - center, others - center
    return _Euclidean.apply(rows, others, itself, kind == "squared")  # pyright: ignore[reportReturnType]


class _Euclidean(torch.autograd.Function):
    """Distances or their squares, of which nothing but themselves is kept for backward."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        rows: Tensor,
        others: Tensor,
        itself: bool,
        squared: bool,
    ) -> Tensor:
        found = rows.square().sum(dim=1)[:, None] + others.square().sum(dim=1)
        found = found.addmm_(rows, others.T, alpha=-2).clamp_(min=0)
        if itself:
            found.fill_diagonal_(0.0)
        found = found if squared else found.sqrt_()
        ctx.save_for_backward(rows, others, found)
        ctx.itself, ctx.squared = itself, squared
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        rows, others, found = ctx.saved_tensors
        with torch.autocast(rows.device.type, enabled=False):
            # The slope of a distance is the difference of the rows over it, and 0 at 0.
            over = 0.5 if ctx.squared else found.masked_fill(found == 0, torch.inf)
            weights = gradients[0] / over
            if ctx.itself:
                weights.fill_diagonal_(0.0)
            for_rows = weights.sum(dim=1, keepdim=True) * rows - weights @ others
            if not ctx.needs_input_grad[1]:
                return for_rows, None, None, None
            for_others = weights.sum(dim=0)[:, None] * others - weights.T @ rows
            return for_rows, for_others, None, None


@full_precision
def mahalanobis(
    rows: Float[Tensor, "rows dim"],
    others: Float[Tensor, "others dim"],
    matrix: Float[Tensor, "dim dim"],
) -> Float[Tensor, "rows others"]:
    r""":math:`\sqrt{(a - b)^\top M (a - b)}` between all rows of two sets.

    It is the Euclidean distance after the linear map L with :math:`M = L^\top L`; to learn M, put
    a linear layer without bias before any loss, and M is positive by construction.

    Args:
        rows: Compared with ``others``.
        others: What they are compared with.
        matrix: M, symmetric and positive definite; see :func:`shrunk_precision`.

    Raises:
        ValueError: If M is not symmetric and positive definite.

    References:
        Mahalanobis, 1936; as a linear map: Weinberger and Saul, 2009, sec. 2.
    """
    if not torch.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6):
        raise ValueError("matrix must be symmetric: its transpose is another matrix")
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise ValueError("matrix must be positive definite; shrunk_precision gives one that is")
    mapped = rows @ lower
    return distances(mapped, None if others is rows else others @ lower)


@full_precision
def shrunk_precision(
    rows: Float[Tensor, "rows dim"], *, shrinkage: float | None = None
) -> Float[Tensor, "dim dim"]:
    """Inverse of a covariance drawn towards a multiple of the identity: M of :func:`mahalanobis`.

    Without shrinkage a covariance of no more rows than dimensions has no inverse.

    Args:
        rows: Samples.
        shrinkage: Weight of the identity, from 0 to 1; None takes Ledoit and Wolf's estimate of
            the best.

    Raises:
        ValueError: If ``shrinkage`` is out of range, or the covariance has no inverse.

    References:
        Ledoit and Wolf, 2004, "A well-conditioned estimator for large-dimensional covariance
        matrices", lemma 3.1 and sec. 3.
    """
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be from 0 to 1, got {shrinkage}")
    count, dim = rows.shape
    rows = rows - rows.mean(dim=0)
    covariance = rows.T @ rows / count
    scale = covariance.diagonal().mean()
    identity = torch.eye(dim, dtype=rows.dtype, device=rows.device)
    weight: float | Tensor
    if shrinkage is None:
        apart = (covariance - scale * identity).square().sum()
        squared = rows.square()
        noise = ((squared.T @ squared / count - covariance.square()).sum() / count).clamp(min=0)
        weight = torch.where(apart > 0, torch.minimum(noise / apart, torch.ones_like(apart)), 0.0)
    else:
        weight = shrinkage
    inverse, failed = torch.linalg.inv_ex((1 - weight) * covariance + weight * scale * identity)
    if failed or not inverse.isfinite().all():
        raise ValueError(
            f"the covariance of {count} rows of {dim} dimensions has no inverse; "
            "raise shrinkage, or leave out dimensions that never change"
        )
    return (inverse + inverse.T) / 2
