"""What smaller embeddings cost: fewer dimensions and fewer bytes, in recall and in time."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, in_range
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.forms import NEAREST, Ids, Rows, blocks, forms, others, rescored, same_rows
from ssl_dml.tables import EmbeddingTable

KEYS: Final = (
    *("recall_at_1", "recall_at_1_low", "recall_at_1_high", "cost", "cost_low", "cost_high"),
    *("same", "bytes", "milliseconds"),
)
REPEATS, ENOUGH = 3, 1.0  # searches that are timed, unless they take so many seconds


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
    its prefixes, and as many principal components of the gallery. Bits are the signs of rows less
    the mean of the gallery, and compared with bits; others are compared with queries of floats.
    ``bit_rescored`` finds ``rescoring`` times as many candidates by bits, and compares the whole
    float32 rows of these, which it reads from a file.

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
        for form in forms(rows, dims):
            held, queries = form.stored(rows), form.reduced(unit)
            size = held.values[:1].nbytes + (0 if held.scale is None else held.scale[:1].nbytes)
            search = partial(others, partial(form.find, held, queries), own)
            judge(form.name, size, *_timed(partial(search, near)))
            if form.dtype == "bit":
                again = partial(rescored, partial(search, many), rows, unit, near)
                judge(f"{form.name}_rescored", size, *_timed(again))
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
    for part in blocks(len(rows)):
        rows[part] = F.normalize(embeddings[part].float(), dim=1).numpy()
    return rows


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
        same = same_rows(found, exact).mean()
        self.results |= {
            f"{name}_same": float(same),
            f"{name}_bytes": float(size),
            f"{name}_milliseconds": 1000 * seconds / len(found),
        }


def compact_table(results: Mapping[str, float]) -> str:
    """What :func:`compact` found, from large to small.

    >>> rows = EmbeddingTable(embeddings=torch.eye(4), labels=torch.tensor([0, 0, 1, 1]))
    >>> print(compact_table(compact(rows, dims=[])).splitlines()[0])
    form                     bytes  recall@1, 95% interval   cost in points             same     ms
    """
    names = [key.removesuffix("_bytes") for key in results if key.endswith("_bytes")]
    lines = [
        f"{'form':24} {'bytes':>5}  {'recall@1, 95% interval':24} {'cost in points':24} "
        f"{'same':>6} {'ms':>6}"
    ]
    for name in sorted(names, key=lambda name: -results[f"{name}_bytes"]):
        own = {key: results[f"{name}_{key}"] for key in KEYS}
        recall = "{recall_at_1:.1%} ({recall_at_1_low:.1%} to {recall_at_1_high:.1%})"
        low, middle, high = (100 * own[f"cost{end}"] for end in ("_low", "", "_high"))
        cost = f"{middle:.1f} ({low:.1f} to {high:.1f})"
        lines.append(
            f"{name:24} {own['bytes']:5.0f}  {recall.format(**own):24} {cost:24} "
            f"{own['same']:6.1%} {own['milliseconds']:6.3f}"
        )
    return "\n".join(lines)
