"""What smaller embeddings cost: fewer dimensions and fewer bytes, in recall and in time."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final, Literal, NamedTuple, get_args

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, in_range
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.health import evenly_spaced
from ssl_dml.quantized import DType, Quantized, quantized, restored
from ssl_dml.tables import EmbeddingTable

NEAREST: Final = 10
BLOCK: Final = 8192  # rows that are restored at once
FITTED: Final = 100_000  # rows that the principal components are of
KEYS: Final = (
    *("recall_at_1", "recall_at_1_low", "recall_at_1_high", "cost", "cost_low", "cost_high"),
    *("same", "bytes", "milliseconds"),
)
REPEATS, ENOUGH = 3, 1.0  # searches that are timed, unless they take so many seconds
Rows = Float[np.ndarray, "_rows _dim"]
Ids = Int[np.ndarray, "_queries _near"]


class Form(NamedTuple):
    """A way to make rows smaller.

    Attributes:
        dim: Dimensions that are left.
        components: Mean and principal axes, one a column; None for a prefix of the row.
        dtype: How rows are stored.
    """

    dim: int
    components: tuple[Rows, Rows] | None
    dtype: DType

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
        return F.normalize(torch.from_numpy(own), dim=1).numpy()

    def stored(self, rows: Rows) -> Quantized:
        """All rows as they are held in memory."""
        parts = [quantized(self.reduced(rows[part]), self.dtype) for part in _blocks(len(rows))]
        scales = [part.scale for part in parts if part.scale is not None]
        values = np.concatenate([part.values for part in parts])
        return Quantized(values, np.concatenate(scales) if scales else None)

    def find(self, held: Quantized, queries: Rows, count: int) -> Ids:
        """The rows nearest to reduced queries, from near to far."""
        if self.dtype == "bit":
            return faiss.knn_hamming(np.packbits(queries > 0, axis=1), held.values, count)[1]
        scores, ids = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
        for part in _blocks(len(held.values)):
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


def compact(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    dims: Sequence[int] | None = None,
    rescoring: int = 4,
    most_queries: int = 2000,
    groups: Literal["classes", "samples"] = "classes",
    seed: int = 0,
) -> dict[str, float]:
    """Recall, bytes and time of a search by smaller embeddings, beside the whole embedding.

    Each is searched exactly by the cosine, in every type that a table is stored in: the embedding,
    its prefixes, and as many principal components of the gallery. Bits are compared with bits,
    other rows with queries of floats. ``bit_rescored`` finds ``rescoring`` times as many
    candidates by bits, and compares the whole float32 rows of these, which it reads from a file.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        dims: Dimensions to compare beside the whole; None for a half, a quarter and an eighth.
        rescoring: Candidates by bits for each neighbor that is wanted.
        most_queries: Queries to search for, a sample if there are more.
        groups: Whether intervals are over classes, for classes that training never saw, or over
            samples, for those that it did.
        seed: Of the sample.

    Returns:
        For each ``NAME``, such as ``prefix_16_int8`` or ``pca_16_bit_rescored``: ``NAME_bytes`` of
        a row in memory; ``NAME_recall_at_1``, the fraction of queries whose nearest row is of
        their class; ``NAME_cost``, how much less that is than by the whole in float32;
        ``NAME_same``, the fraction of the ten nearest by that which are found; and
        ``NAME_milliseconds`` of a query when all are searched for at once. Recall and cost have
        the ends of their 95% interval, the cost paired by query.

    Raises:
        ValueError: If there is nothing to find, or an argument is outside its range.

    >>> rows = torch.tensor([[1.0, 0.1], [1.0, 0.2], [-1.0, 0.1], [-1.0, 0.2]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> found = compact(table, dims=[1])
    >>> found["prefix_1_bit_recall_at_1"], found["prefix_1_bit_bytes"]  # the first value suffices
    (1.0, 1.0)
    """
    at_least(1, rescoring=rescoring, most_queries=most_queries)
    whole = gallery.embeddings.shape[1]
    dims = [whole // part for part in (2, 4, 8) if whole >= part] if dims is None else dims
    for dim in dims:
        in_range(1, whole, dims=dim)
    searched, own = _searched(gallery, query, most_queries, seed)
    unit = F.normalize(searched.embeddings.float(), dim=1).numpy()
    judge = _Judge(gallery.labels, searched.labels, groups)
    with tempfile.TemporaryFile() as file:
        rows = _written(gallery.embeddings, file)
        most = len(rows) - (own is not None)
        near, many = min(NEAREST, most), min(NEAREST * rescoring, most)
        for form in _forms(rows, dims):
            held, queries = form.stored(rows), form.reduced(unit)
            size = held.values[:1].nbytes + (0 if held.scale is None else held.scale[:1].nbytes)
            search = partial(_others, partial(form.find, held, queries), own)
            judge(form.name, size, *_timed(partial(search, near)))
            if form.dtype == "bit":
                rescored = partial(_rescored, partial(search, many), rows, unit, near)
                judge(f"{form.name}_rescored", size, *_timed(rescored))
    return judge.results


def _searched(
    gallery: EmbeddingTable, query: EmbeddingTable | None, most: int, seed: int
) -> tuple[EmbeddingTable, Int[np.ndarray, " queries"] | None]:
    """A sample of the queries that have something to find, and which gallery rows they are."""
    table = gallery if query is None else query
    for name, one in (("gallery", gallery), ("query", table)):
        if not one.embeddings.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
    if table.embeddings.shape[1] != gallery.embeddings.shape[1]:
        dims = gallery.embeddings.shape[1], table.embeddings.shape[1]
        raise ValueError(f"gallery and query must be of one dimension, got {dims[0]} and {dims[1]}")
    classes, counts = gallery.labels.unique(return_counts=True)
    found = classes[counts > (query is None)]
    possible = (torch.isin(table.labels, found) & (table.labels >= 0)).nonzero()[:, 0]
    if not len(possible):
        raise ValueError("no query has another row of its class to find; compact needs one")
    generator = torch.Generator().manual_seed(seed)
    chosen = possible[torch.randperm(len(possible), generator=generator)[:most]].sort().values
    return table.at(chosen), chosen.numpy() if query is None else None


def _written(embeddings: Float[Tensor, "rows dim"], file: object) -> Rows:
    """Unit rows in a file, of which memory holds what is read."""
    rows = np.memmap(file, np.float32, "w+", shape=tuple(embeddings.shape))  # pyright: ignore
    for part in _blocks(len(rows)):
        rows[part] = F.normalize(embeddings[part].float(), dim=1).numpy()
    return rows


def _forms(rows: Rows, dims: Sequence[int]) -> Iterator[Form]:
    """Each form of the rows, the whole in float32 first."""
    pca = _components(rows[evenly_spaced(len(rows), FITTED).numpy()])
    for dim in sorted({*dims, rows.shape[1]}, reverse=True):
        models = (None, pca) if dim < rows.shape[1] else (None,)
        yield from (Form(dim, model, one) for model in models for one in get_args(DType))


def _components(rows: Rows) -> tuple[Rows, Rows]:
    """Mean and principal axes of rows, the axis of most variance first."""
    mean = rows.mean(axis=0, dtype=np.float64, keepdims=True)
    apart = rows - mean
    _, axes = np.linalg.eigh(apart.T @ apart)
    return mean.astype(np.float32), axes[:, ::-1].astype(np.float32)


def _rescored(search: Callable[[], Ids], rows: Rows, queries: Rows, near: int) -> Ids:
    """The nearest of those that a search finds, by rows that are read from their file."""
    found = search()
    best = np.empty((len(found), near), np.int64)
    for part in _blocks(len(found), BLOCK // 16):
        cosines = np.einsum("qd,qcd->qc", queries[part], rows[found[part]])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :near]
        best[part] = np.take_along_axis(found[part], order, axis=1)
    return best


def _others(
    search: Callable[[int], Ids], own: Int[np.ndarray, " queries"] | None, count: int
) -> Ids:
    """So many that a search finds, other than the row itself.

    >>> found = np.array([[4, 7, 9], [1, 2, 3]])
    >>> _others(lambda count: found[:, :count], np.array([7, 0]), 2)
    array([[4, 9],
           [1, 2]])
    """
    if own is None:
        return search(count)
    found = search(count + 1)
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :count]


def _blocks(count: int, size: int = BLOCK) -> Iterator[slice]:
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _timed(search: Callable[[], Ids]) -> tuple[Ids, float]:
    """What a search finds, and the fewest seconds that it took."""
    spent = list[float]()
    while True:
        begun = perf_counter()
        found = search()
        spent.append(perf_counter() - begun)
        if len(spent) == REPEATS or sum(spent) > ENOUGH:
            return found, min(spent)


class _Judge:
    """Compares what searches find with the labels, and with what the first one found."""

    def __init__(
        self,
        gallery: Int[Tensor, " rows"],
        query: Int[Tensor, " queries"],
        groups: Literal["classes", "samples"],
    ) -> None:
        self.gallery, self.query = gallery, query
        self.groups = query if groups == "classes" else None
        self.results = dict[str, float]()
        self.exact: tuple[Ids, Tensor] | None = None

    def __call__(self, name: str, size: int, found: Ids, seconds: float) -> None:
        correct = (self.gallery[torch.from_numpy(found[:, 0])] == self.query).double()
        self.exact = self.exact or (found, correct)
        exact, right = self.exact
        for key, values in (("recall_at_1", correct), ("cost", right - correct)):
            mean, low, high = interval(values, self.groups)
            for end, value in (("", mean), ("_low", low), ("_high", high)):
                self.results[f"{name}_{key}{end}"] = value
        same = (found[:, :, None] == exact[:, None]).any(axis=2).mean()
        self.results |= {
            f"{name}_same": float(same),
            f"{name}_bytes": float(size),
            f"{name}_milliseconds": 1000 * seconds / len(found),
        }


def compact_table(results: Mapping[str, float]) -> str:
    """What :func:`compact` found, from large to small.

    >>> rows = EmbeddingTable(embeddings=torch.eye(4), labels=torch.tensor([0, 0, 1, 1]))
    >>> print(compact_table(compact(rows, dims=[])).splitlines()[0])
    form                     bytes  recall@1, 95% interval   cost in points            same     ms
    """
    names = [key.removesuffix("_bytes") for key in results if key.endswith("_bytes")]
    lines = [
        f"{'form':24} {'bytes':>5}  {'recall@1, 95% interval':24} {'cost in points':24} "
        f"{'same':>5} {'ms':>6}"
    ]
    for name in sorted(names, key=lambda name: -results[f"{name}_bytes"]):
        own = {key: results[f"{name}_{key}"] for key in KEYS}
        recall = "{recall_at_1:.1%} ({recall_at_1_low:.1%} to {recall_at_1_high:.1%})"
        low, middle, high = (100 * own[f"cost{end}"] for end in ("_low", "", "_high"))
        cost = f"{middle:.1f} ({low:.1f} to {high:.1f})"
        lines.append(
            f"{name:24} {own['bytes']:5.0f}  {recall.format(**own):24} {cost:24} "
            f"{own['same']:5.1%} {own['milliseconds']:6.3f}"
        )
    return "\n".join(lines)
