"""How well a search by embedding finds the other samples of a class."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.types import EmbeddingTable

Metric = Literal["cosine", "euclidean"]
WIDTH = 8192  # gallery rows compared at once
TILE = 2**21  # numbers of each kind held at once
ROUNDING = 1e-13  # squared distances below this part of the largest square length are 0
LAST = torch.iinfo(torch.int64).max


def retrieval(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    metric: Metric = "cosine",
) -> dict[str, float]:
    r"""Recall@k, MAP@R and R-precision of an exact search.

    With R rows of a query's class in the gallery and P(i) the part of the i nearest that are of it,

    .. math:: \text{MAP@R} = \frac1R \sum_{i \le R} P(i) \, [i \text{ is of the class}]

    Distances are computed in float64 and compared in float32; of equal ones, such as those of
    copies, the lower row comes first. Memory does not grow with the square of the rows.

    Args:
        gallery: Rows that are searched.
        query: Rows that are asked about; None where each gallery row asks about all the others.
        ks: Numbers of nearest rows.
        metric: What is nearest; ``cosine`` does not see the lengths of rows.

    Returns:
        ``recall_at_{k}``, the part of queries with a row of their class among the k nearest;
        ``map_at_r``; ``r_precision``, the part of the R nearest that are of the class; each a mean
        over queries in [0, 1]. ``queries`` says of how many; ``left_out`` how many have nothing to
        find.

    Raises:
        ValueError: If a k exceeds what is searched, no query has anything to find, a label is
            negative, or an embedding is not finite.

    References:
        Song et al., 2016, arXiv:1511.06452: recall@k as the part of queries that find one;
        Musgrave et al., 2020, arXiv:2003.08505: MAP@R and R-precision.
    """
    asked = gallery if query is None else query
    itself = int(query is None)
    searched = len(gallery.labels) - itself
    _check_ks(ks, searched)
    _check("gallery", gallery, gallery.embeddings.shape[1])
    if query is not None:
        _check("query", query, gallery.embeddings.shape[1])
    mates = _count(gallery.labels, asked.labels) - itself
    rows = (mates > 0).nonzero()[:, 0]
    if not len(rows):
        raise ValueError("no query has another row of its class to find; retrieval needs one")
    # From large classes to small ones, so that each chunk looks no deeper than it must.
    rows = rows[mates[rows].argsort(descending=True, stable=True)]
    floor, found = ROUNDING * _square_length(gallery, asked, metric), []
    while len(rows):
        depth = max(int(mates[rows[0]]), *ks)
        chunk = rows[: max(1, TILE // (depth + max(depth, min(WIDTH, searched))))]
        rows = rows[len(chunk) :]
        near = _nearest(
            gallery.embeddings,
            _prepared(asked.embeddings[chunk], metric),
            itself=chunk if itself else None,
            depth=depth,
            metric=metric,
            floor=floor,
        )
        right = gallery.labels[near] == asked.labels[chunk, None]
        found.append(_measure(right, mates[chunk], ks))
    names = [*(f"recall_at_{k}" for k in ks), "map_at_r", "r_precision"]
    queries = sum(len(part) for part in found)
    means = torch.cat(found).mean(dim=0).tolist()
    counts = {"queries": float(queries), "left_out": float(len(mates) - queries)}
    return dict(zip(names, means, strict=True)) | counts


def label_distances(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    numbers: Float[Tensor, "classes values"],
    ks: Sequence[int] = (1, 2, 4, 8),
) -> dict[str, float]:
    """How far the numbers of the nearest rows, by Euclidean distance, are from that of a query.

    Args:
        gallery: Rows that are searched.
        query: Rows that are asked about; None where each gallery row asks about all the others.
        numbers: What a row of each class shows.
        ks: Numbers of nearest rows.

    Returns:
        ``label_distance_at_{k}``, the Euclidean distance of the numbers in their own unit, a mean
        over the k nearest and over queries; 0 if all have the number of the query.

    Raises:
        ValueError: If a k exceeds what is searched, a label is negative, or an embedding is not
            finite.

    References:
        Kim et al., 2019, arXiv:1904.09626, sec. 5: mean pose distance.
    """
    asked = gallery if query is None else query
    searched = len(gallery.labels) - (query is None)
    _check_ks(ks, searched)
    _check("gallery", gallery, gallery.embeddings.shape[1])
    _check("query", asked, gallery.embeddings.shape[1])
    floor, found = ROUNDING * _square_length(gallery, asked, "euclidean"), []
    for chunk in torch.arange(len(asked.labels)).split(max(1, TILE // min(WIDTH, searched))):
        near = _nearest(
            gallery.embeddings,
            asked.embeddings[chunk].double(),
            itself=chunk if query is None else None,
            depth=max(ks),
            metric="euclidean",
            floor=floor,
        )
        shown = numbers[asked.labels[chunk], None].double()
        apart = (numbers[gallery.labels[near]].double() - shown).norm(dim=2)
        found.append(torch.stack([apart[:, :k].mean(dim=1) for k in ks], dim=1))
    means = torch.cat(found).mean(dim=0).tolist()
    return {f"label_distance_at_{k}": mean for k, mean in zip(ks, means, strict=True)}


def _check_ks(ks: Sequence[int], searched: int) -> None:
    if not ks or min(ks) < 1 or max(ks) > searched:
        raise ValueError(
            f"ks must be from 1 to the number of rows searched, {searched}; got {list(ks)}"
        )


def _check(name: str, table: EmbeddingTable, dim: int) -> None:
    if table.embeddings.shape[1] != dim:
        raise ValueError(
            f"gallery and query must be of one dimension, got {dim} and {table.embeddings.shape[1]}"
        )
    if len(table.labels) and table.labels.min() < 0:
        raise ValueError(
            f"{name} labels must be at least 0, got {int(table.labels.min())}; leave rows without "
            "a class out"
        )
    finite = table.embeddings.isfinite().all(dim=1)
    if not finite.all():
        raise ValueError(f"{name} row {int((~finite).nonzero()[0])} is not finite")


def _count(labels: Int[Tensor, " rows"], asked: Int[Tensor, " asked"]) -> Int[Tensor, " asked"]:
    """How many rows are of each class that is asked about."""
    classes, counts = labels.unique(return_counts=True)
    places = torch.searchsorted(classes, asked).clamp(max=len(classes) - 1)
    return counts[places] * (classes[places] == asked)


def _prepared(rows: Float[Tensor, "rows dim"], metric: Metric) -> Float[Tensor, "rows dim"]:
    """In float64; unit rows for the cosine, whose order is that of their Euclidean distances."""
    return F.normalize(rows.double(), dim=1) if metric == "cosine" else rows.double()


def _square_length(gallery: EmbeddingTable, query: EmbeddingTable, metric: Metric) -> float:
    """The largest of any row, from the middle of the gallery."""
    if metric == "cosine":
        return 1.0
    middle = gallery.embeddings.double().mean(dim=0, keepdim=True)
    tables = (gallery,) if query is gallery else (gallery, query)
    return max(
        float(distances(table.embeddings.double(), middle, kind="squared").max())
        for table in tables
    )


def _nearest(
    gallery: Float[Tensor, "rows dim"],
    asked: Float[Tensor, "asked dim"],
    *,
    itself: Int[Tensor, " asked"] | None,
    depth: int,
    metric: Metric,
    floor: float,
) -> Int[Tensor, "asked depth"]:
    """The nearest gallery rows, without ``itself``, from near to far."""
    best = torch.empty(len(asked), 0, dtype=torch.long)
    first = 0
    for part in gallery.split(max(WIDTH, depth)):
        far = distances(asked, _prepared(part, metric), kind="squared")
        far = F.threshold(far, floor, 0.0)  # of copies nothing but rounding is left
        # The bits of positive floats have the order of the floats. With the row in the lower half
        # no two keys are equal, so that any way to sort them has one result.
        keys = (far.float().view(torch.int32).long() << 32) | (first + torch.arange(len(part)))
        if itself is not None:
            own = itself - first
            inside = ((own >= 0) & (own < len(part))).nonzero()[:, 0]
            keys[inside, own[inside]] = LAST
        best = torch.cat([best, keys], dim=1)
        best = best.topk(min(depth, best.shape[1]), dim=1, largest=False).values
        first += len(part)
    return best & (2**32 - 1)


def _measure(
    right: Bool[Tensor, "asked depth"], mates: Int[Tensor, " asked"], ks: Sequence[int]
) -> Float[Tensor, "asked measures"]:
    """Whether the nearest of each query are right, as one number a measure."""
    places = torch.arange(1, right.shape[1] + 1)
    hits = [right[:, :k].any(dim=1).double() for k in ks]
    counted = right & (places <= mates[:, None])
    precision = counted.cumsum(dim=1).double() / places
    return torch.stack(
        [*hits, (precision * counted).sum(dim=1) / mates, counted.sum(dim=1).double() / mates],
        dim=1,
    )
