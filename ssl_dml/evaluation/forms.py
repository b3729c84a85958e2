"""Rows made smaller, by fewer dimensions or fewer bytes, and exact searches among them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, get_args

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.bootstrap import Interval, interval
from ssl_dml.evaluation.health import evenly_spaced
from ssl_dml.quantized import DType, Levels, Quantized, quantized, restored

NEAREST: Final = 10
BLOCK: Final = 8192  # rows that are restored at once
FITTED: Final = 100_000  # rows that the principal components are of
QUERIES: Final = 500  # rows that the recall of a type of storage is measured with
Rows = Float[np.ndarray, "_rows _dim"]
Ids = Int[np.ndarray, "_queries _near"]


class Form(NamedTuple):
    """A way to make rows smaller.

    Attributes:
        dim: Dimensions that are left.
        components: Mean and principal axes, one a column; None for a prefix of the row.
        dtype: How rows are stored.
        center: What bits are the signs above; None for 0.
    """

    dim: int
    components: tuple[Rows, Rows] | None
    dtype: DType
    center: Rows | None = None

    @property
    def name(self) -> str:
        """Such as ``prefix_16_int8``."""
        return f"{'prefix' if self.components is None else 'pca'}_{self.dim}_{self.dtype}"

    def reduced(self, rows: Rows) -> Rows:
        """Fewer dimensions of unit rows, again of length 1."""
        own = rows[:, : self.dim]
        if self.components is not None:
            mean, axes = self.components
            own = (rows - mean) @ axes[:, : self.dim]
        elif self.dtype == "bit" and self.center is not None:
            own = own - self.center[:, : self.dim]
        return F.normalize(torch.from_numpy(own), dim=1).numpy()

    def stored(self, rows: Rows) -> Quantized:
        """All rows as they are held in memory."""
        parts = [quantized(self.reduced(rows[part]), self.dtype) for part in blocks(len(rows))]
        scales = [part.scale for part in parts if part.scale is not None]
        values = np.concatenate([part.values for part in parts])
        return Quantized(values, np.concatenate(scales) if scales else None)

    def find(self, held: Quantized, queries: Rows, count: int) -> Ids:
        """The rows nearest to reduced queries, from near to far."""
        if self.dtype == "bit":
            return faiss.knn_hamming(np.packbits(queries > 0, axis=1), held.values, count)[1]
        scores, ids = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
        for part in blocks(len(held.values)):
            scale = None if held.scale is None else held.scale[part]
            rows = restored(Quantized(held.values[part], scale), self.dim, self.dtype)
            rows = F.normalize(torch.from_numpy(rows), dim=1).numpy()
            near = min(count, len(rows))
            cosines, own = faiss.knn(queries, rows, near, metric=faiss.METRIC_INNER_PRODUCT)
            scores = torch.cat([scores, torch.from_numpy(cosines)], dim=1)
            ids = torch.cat([ids, torch.from_numpy(own) + part.start], dim=1)
            scores, order = scores.topk(min(count, scores.shape[1]), dim=1)
            ids = ids.gather(1, order)
        return ids.numpy()


def forms(rows: Rows, dims: Sequence[int]) -> Iterator[Form]:
    """Each form of the rows, the whole in float32 first."""
    pca = _components(rows[evenly_spaced(len(rows), FITTED).numpy()])
    for dim in sorted({*dims, rows.shape[1]}, reverse=True):
        models = (None, pca) if dim < rows.shape[1] else (None,)
        for model in models:
            yield from (Form(dim, model, one, pca[0]) for one in get_args(DType))


def _components(rows: Rows) -> tuple[Rows, Rows]:
    """Mean and principal axes of rows, the axis of most variance first."""
    mean = rows.mean(axis=0, dtype=np.float64, keepdims=True)
    apart = rows - mean
    _, axes = np.linalg.eigh(apart.T @ apart)
    return mean.astype(np.float32), axes[:, ::-1].astype(np.float32)


def rescored(search: Callable[[], Ids], rows: Rows, queries: Rows, near: int) -> Ids:
    """The nearest of those that a search finds, by rows that are read from their file."""
    found = search()
    best = np.empty((len(found), near), np.int64)
    for part in blocks(len(found)):
        cosines = np.einsum("qd,qcd->qc", queries[part], rows[found[part]])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :near]
        best[part] = np.take_along_axis(found[part], order, axis=1)
    return best


def others(
    search: Callable[[int], Ids], own: Int[np.ndarray, " queries"] | None, count: int
) -> Ids:
    """So many that a search finds, other than the row itself.

    >>> found = np.array([[4, 7, 9], [1, 2, 3]])
    >>> others(lambda count: found[:, :count], np.array([7, 0]), 2)
    array([[4, 9],
           [1, 2]])
    """
    if own is None:
        return search(count)
    found = search(count + 1)
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :count]


def blocks(count: int) -> Iterator[slice]:
    """Consecutive parts of so many rows."""
    return (slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK))


def same_rows(found: Ids, exact: Ids) -> Float[np.ndarray, " queries"]:
    """Of the rows that an exact search finds, the fraction that another one finds.

    >>> same_rows(np.array([[4, 7], [1, 2]]), np.array([[7, 9], [2, 1]]))
    array([0.5, 1. ])
    """
    return (exact[:, :, None] == found[:, None]).any(axis=2).mean(axis=1)


def stored_recall(
    rows: Float[Tensor, "rows dim"], dtype: DType, levels: Levels | None = None
) -> Interval:
    """Recall@10 of float32: the fraction of the ten nearest rows that stored rows keep.

    Some rows search among all the others, by their floats among what is restored, as a search in
    the table does.

    Args:
        rows: Two rows or more.
        dtype: How they are stored.
        levels: Of bits, those of the table.

    >>> stored_recall(torch.eye(3), "float16")
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    unit = F.normalize(rows.float(), dim=1).numpy()
    own = evenly_spaced(len(unit), QUERIES).numpy()
    near, found = min(NEAREST, len(unit) - 1), list[Ids]()
    dim, exact = unit.shape[1], Form(unit.shape[1], None, "float32")
    for kind in ("float32", dtype):
        kept = restored(quantized(unit, kind, levels), dim, kind, levels)
        search = partial(exact.find, Quantized(kept), unit[own])
        found.append(others(search, own, near))
    return interval(torch.from_numpy(same_rows(found[1], found[0])))
