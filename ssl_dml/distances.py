"""Distances between all pairs of rows."""

from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from ssl_dml import checks
from ssl_dml.precision import full_precision
from ssl_dml.reading import reading, regular


@full_precision
def shrunk_precision(
    rows: Float[Tensor, "rows dim"], *, shrinkage: float | None = None
) -> Float[Tensor, "dim dim"]:
    """Inverse of a covariance that is shrunk towards a multiple of the identity.

    Without shrinkage, a covariance of no more rows than dimensions has no inverse.

    Args:
        rows: Samples.
        shrinkage: Weight of the identity, from 0 to 1; None estimates the best weight by the
            formula of Ledoit and Wolf.

    Raises:
        ValueError: If ``shrinkage`` is out of range, or the covariance has no inverse.

    Examples:
        >>> import torch
        >>> from ssl_dml.distances import shrunk_precision
        >>> rows = torch.tensor([[2.0, 1.0], [-2.0, 1.0], [2.0, -1.0], [-2.0, -1.0]])
        >>> shrunk_precision(rows, shrinkage=0.0)  # of the variances 4 and 1
        tensor([[0.2500, 0.0000],
                [0.0000, 1.0000]])

    References:
        Ledoit and Wolf, 2004, "A well-conditioned estimator for large-dimensional covariance
        matrices", lemma 3.1 and sec. 3.
    """
    checks.in_range(0, 1, shrinkage=shrinkage)
    count, dim = rows.shape
    rows = rows - rows.mean(dim=0)
    covariance = rows.T @ rows / count
    identity = covariance.diagonal().mean() * torch.eye(dim, dtype=rows.dtype, device=rows.device)
    weight: float | Tensor | None = shrinkage
    if weight is None:
        apart = (covariance - identity).square().sum()
        squared = rows.square()
        noise = ((squared.T @ squared / count - covariance.square()).sum() / count).clamp(min=0)
        weight = torch.where(apart > 0, torch.minimum(noise / apart, torch.ones_like(apart)), 0.0)
    inverse, failed = torch.linalg.inv_ex((1 - weight) * covariance + weight * identity)
    if failed or not inverse.isfinite().all():
        raise ValueError(
            f"the covariance of {count} rows of {dim} dimensions has no inverse; "
            "raise shrinkage, or leave out dimensions that never change"
        )
    return (inverse + inverse.T) / 2


@final
class Mahalanobis(nn.Module):
    r"""Distance :math:`\sqrt{(a - b)^\top M (a - b)}` with a given, estimated or learned M.

    It is the Euclidean distance after a linear map L with :math:`M = L L^\top`. Pass it as the
    ``distance`` of a loss or a miner. A YAML file names it by its path and options. A learned L is
    trained by the loss that has it; a miner does not train it, so share the object with the loss.

    Args:
        kind: ``learned`` trains L, which starts as the identity. ``given`` takes M from
            ``matrix``. ``covariance`` takes the :func:`shrunk_precision` of the rows that the
            batch is compared with, memory included, without gradient.
        dim: Dimension of the embeddings; for ``learned``.
        matrix: M, symmetric and positive definite: nested lists, a tensor, the path of an
            ``.npy`` file, or of ``model.safetensors`` of a checkpoint that learned one; for
            ``given``.
        shrinkage: Of the covariance, from 0 to 1; None estimates the best one.

    Raises:
        ValueError: If an option that the kind needs is missing, or M is not symmetric and positive
            definite.

    Examples:
        >>> import torch
        >>> from ssl_dml.distances import Mahalanobis
        >>> distance = Mahalanobis(kind="given", matrix=[[4.0, 0.0], [0.0, 1.0]])
        >>> distance(torch.zeros(1, 2), torch.eye(2))
        tensor([[2., 1.]])

    References:
        Mahalanobis, 1936; as a learned linear map: Weinberger and Saul, 2009, sec. 2.
    """

    def __init__(
        self,
        *,
        kind: Literal["learned", "given", "covariance"] = "learned",
        dim: int | None = None,
        matrix: list[list[float]] | Path | Tensor | None = None,
        shrinkage: float | None = None,
    ) -> None:
        super().__init__()
        for needed, name, value in (("learned", "dim", dim), ("given", "matrix", matrix)):
            if kind == needed and value is None:
                raise ValueError(f"{name} must be set for kind {kind}, got None")
        checks.at_least(1, dim=dim)
        checks.in_range(0, 1, shrinkage=shrinkage)
        self.kind, self.shrinkage = kind, shrinkage
        if dim is not None and kind == "learned":
            self.root = nn.Parameter(torch.eye(dim))
        elif matrix is not None:
            values = _read_matrix(matrix) if isinstance(matrix, Path) else matrix
            self.register_buffer("root", _root(torch.as_tensor(values)))

    def forward(
        self, rows: Float[Tensor, "rows dim"], others: Float[Tensor, "others dim"] | None = None
    ) -> Float[Tensor, "rows all"]:
        """Distances of all rows to all others, or to each other."""
        others = rows if others is None else others
        root = self.linear_map(others)
        mapped = rows @ root
        return distances(mapped, mapped if others is rows else others @ root)

    def linear_map(self, others: Float[Tensor, "others dim"]) -> Float[Tensor, "dim dim"]:
        r"""L, with which :math:`M = L L^\top` compares rows with these others."""
        if self.kind == "covariance":
            samples = others.detach()[others.any(dim=1)]  # a memory that fills has rows of zeros
            root = _root(shrunk_precision(samples, shrinkage=self.shrinkage))
        else:
            root = self.root.to(others)
        if len(root) != others.shape[1]:
            raise ValueError(
                f"the distance is of {len(root)} dimensions, rows of {others.shape[1]}"
            )
        return root


def _read_matrix(path: Path) -> np.ndarray:
    with reading(f"matrix {str(path)!r}", "save it with numpy.save"):
        if path.suffix == ".safetensors":
            return _learned(path)
        return np.load(regular(path), mmap_mode="r").copy()


def _learned(path: Path) -> np.ndarray:
    """M of the one distance that the weights of a checkpoint have learned."""
    with safe_open(regular(path), "numpy") as file:
        names = [name for name in file.keys() if name.endswith("distance.root")]  # noqa: SIM118
        if len(names) != 1:
            raise ValueError(f"has {len(names)} learned distances, and one is needed")
        root = file.get_tensor(names[0])
    return root @ root.T


def _root(matrix: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    """The Cholesky factor L of M = L L^T."""
    if not torch.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6):
        raise ValueError("matrix must be symmetric: its transpose is another matrix")
    root, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise ValueError("matrix must be positive definite; shrunk_precision gives one that is")
    return root


Distance = Literal["euclidean", "squared", "cosine", "dot"] | Mahalanobis


@full_precision
def distances(
    rows: Float[Tensor, "rows dim"],
    others: Float[Tensor, "others dim"] | None = None,
    *,
    kind: Distance = "euclidean",
) -> Float[Tensor, "rows all"]:
    r"""Distance of each row to each other row, as a matrix; nothing larger is made on the way.

    ``euclidean`` is :math:`\|a - b\|`, ``squared`` its square, ``cosine`` 1 minus the cosine, and
    ``dot`` the negative dot product, so that less is always nearer. Only ``euclidean`` is a metric.
    On unit rows ``squared`` is twice ``cosine``.

    Equal rows have a distance of 0 up to rounding, with finite gradients. The distance of a row to
    itself is exactly 0, without gradient, except by ``dot``.

    Args:
        rows: Rows to compare.
        others: Rows to compare with; None for ``rows`` themselves.
        kind: A name, or a :class:`Mahalanobis`.

    Examples:
        >>> import torch
        >>> from ssl_dml.distances import distances
        >>> distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[0., 5.],
                [5., 0.]])
    """
    others = rows if others is None else others
    itself = others is rows
    if isinstance(kind, Mahalanobis):
        return kind(rows, others)
    if kind == "dot":
        return -(rows @ others.T)
    if kind == "cosine":
        rows = F.normalize(rows, dim=1)
        found = 1 - rows @ (rows if itself else F.normalize(others, dim=1)).T
        return found.fill_diagonal_(0.0) if itself else found
    # Distances are translation-invariant, and cancellation is least near the origin.
    center = others.detach().mean(dim=0) if len(others) else 0.0
    rows, others = rows - center, others - center
    return _Euclidean.apply(rows, others, itself, kind == "squared")  # pyright: ignore[reportReturnType]


class _Euclidean(torch.autograd.Function):
    """Distances or their squares; backward needs nothing else of their size."""

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
            # The gradient of a distance is the difference of the rows over it, and 0 at 0.
            over = 0.5 if ctx.squared else found.masked_fill(found == 0, torch.inf)
            weights = gradients[0] / over
            if ctx.itself:
                weights.fill_diagonal_(0.0)
            for_rows = weights.sum(dim=1, keepdim=True) * rows - weights @ others
            if not ctx.needs_input_grad[1]:
                return for_rows, None, None, None
            for_others = weights.sum(dim=0)[:, None] * others - weights.T @ rows
            return for_rows, for_others, None, None
