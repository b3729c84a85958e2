"""Nearest-neighbor search over all pairs of rows: exact to the last tie, or fast in float32."""

from collections.abc import Iterator, Sequence
from typing import Literal

import faiss
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.types import ConfigError

Metric = Literal["cosine", "euclidean"]
WIDTH = 8192  # gallery rows compared at once
TILE = 2**21  # values of each kind held at once
ROUNDING = 1e-13  # squared distances below this part of the largest squared length are 0
LAST = torch.iinfo(torch.int64).max


def nearest(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "queries dim"] | None,
    depths: Int[Tensor, " queries"],
    *,
    metric: Metric,
) -> Iterator[tuple[Int[Tensor, " chunk"], Int[Tensor, "chunk depth"]]]:
    """The nearest gallery rows of each query, from near to far, for some queries at a time.

    Distances are computed in float64 and compared in float32. Of equal ones, such as those of
    copies, the lower row comes first. Memory does not grow with the square of the rows.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        depths: How many neighbors each query needs; queries that need 0 are left out.
        metric: Which distance; ``cosine`` ignores the lengths of rows.

    Yields:
        Indices of some queries, and the neighbors of each, as many as any of these needs.

    >>> line = torch.tensor([[0.0], [1.0], [1.9]])
    >>> list(nearest(line, None, torch.tensor([1, 0, 2]), metric="euclidean"))
    [(tensor([2, 0]), tensor([[1, 0],
            [1, 2]]))]
    """
    queries = gallery if query is None else query
    floor = ROUNDING * _squared_length(gallery, queries, metric)
    # From deep to shallow, so that each chunk looks no deeper than it must.
    rows = depths.argsort(descending=True, stable=True)[: int((depths > 0).sum())]
    while len(rows):
        depth = int(depths[rows[0]])
        chunk = rows[: max(1, TILE // (depth + max(depth, min(WIDTH, len(gallery)))))]
        rows = rows[len(chunk) :]
        own = chunk if query is None else None
        yield chunk, _nearest(gallery, queries[chunk], depth, own, metric=metric, floor=floor)


def _nearest(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "queries dim"],
    depth: int,
    exclude: Int[Tensor, " queries"] | None,
    *,
    metric: Metric,
    floor: float,
) -> Int[Tensor, "queries depth"]:
    query = _prepared(query, metric)
    best = torch.empty(len(query), 0, dtype=torch.long)
    first = 0
    for part in gallery.split(max(WIDTH, depth)):
        far = distances(query, _prepared(part, metric), kind="squared")
        far = F.threshold(far, floor, 0.0)  # between copies there is rounding alone
        # The bits of positive floats have the order of the floats. With the row in the lower half
        # no two keys are equal, so that any way to sort them has one result.
        keys = (far.float().view(torch.int32).long() << 32) | (first + torch.arange(len(part)))
        if exclude is not None:
            own = exclude - first
            inside = ((own >= 0) & (own < len(part))).nonzero()[:, 0]
            keys[inside, own[inside]] = LAST
        best = torch.cat([best, keys], dim=1)
        best = best.topk(min(depth, best.shape[1]), dim=1, largest=False).values
        first += len(part)
    return best & (2**32 - 1)


def _prepared(rows: Float[Tensor, "rows dim"], metric: Metric) -> Float[Tensor, "rows dim"]:
    """In float64; unit rows for the cosine, whose order is that of their Euclidean distances."""
    return F.normalize(rows.double(), dim=1) if metric == "cosine" else rows.double()


def _squared_length(gallery: Tensor, query: Tensor, metric: Metric) -> float:
    """The largest squared distance of any row from the center of the gallery."""
    if metric == "cosine":
        return 1.0
    center = gallery.double().mean(dim=0, keepdim=True)
    tables = (gallery,) if query is gallery else (gallery, query)
    return max(float(distances(t.double(), center, kind="squared").max()) for t in tables)


def most_similar(
    gallery: Float[Tensor, "rows dim"], query: Float[Tensor, "queries dim"], k: int
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k largest cosines of each query and their gallery rows, computed in float32 by faiss.

    Every pair is compared, but rounding, about 1e-7, decides between cosines that are closer than
    that, and equal ones come in any order. It is several times faster than :func:`nearest`.

    >>> most_similar(torch.eye(3), torch.tensor([[3.0, 4.0, 0.0]]), 2)
    (tensor([[0.8000, 0.6000]]), tensor([[1, 0]]))
    """
    rows, queries = (F.normalize(x.float(), dim=1).numpy() for x in (gallery, query))
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)  # pyright: ignore[reportCallIssue] - faiss wraps it at import
    cosines, found = index.search(queries, k)  # pyright: ignore[reportCallIssue]
    return torch.from_numpy(cosines), torch.from_numpy(found)


def check_ks(ks: Sequence[int], count: int, section: str = "") -> None:
    """Raise unless there are ks and each is from 1 to the number of rows that are searched.

    Args:
        ks: Numbers of neighbors.
        count: Number of rows that are searched.
        section: Part of the configuration that has them; "" for a plain argument.

    Raises:
        ConfigError: Naming ``section.ks``, if a section is given.
        ValueError: Naming ``ks``, otherwise.

    >>> check_ks([1, 300], 200, "knn")
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: knn.ks must be from 1 to 200, the rows to search; got [1, 300]: \
set it to [1]
    """
    if not ks or min(ks) < 1 or max(ks) > count:
        name = f"{section}.ks" if section else "ks"
        error = ConfigError if section else ValueError
        possible = [k for k in ks if 1 <= k <= count] or [count]
        remedy = f"set it to {possible}" if count > 0 else "give more samples to search"
        raise error(
            f"{name} must be from 1 to {count}, the rows to search; got {list(ks)}: {remedy}"
        )
