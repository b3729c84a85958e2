"""How well a nearest-neighbor search by embedding finds what has the same label."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.evaluation.search import Metric, check_ks, counts_of, nearest
from ssl_dml.tables import EmbeddingTable


def retrieval(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    metric: Metric = "cosine",
) -> dict[str, float]:
    r"""Recall@k, MAP@R and R-precision of an exact search.

    With R gallery rows of the query's class and P(i) the precision among the i nearest,

    .. math:: \text{MAP@R} = \frac1R \sum_{i \le R} P(i) \, [i \text{ is of the class}]

    Distances are computed in float64 and compared in float32. Of equal ones, such as those of
    copies, the lower row comes first. Memory does not grow with the square of the rows.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        ks: Numbers of nearest neighbors for recall@k.
        metric: Which distance; ``cosine`` ignores the lengths of embeddings.

    Returns:
        ``recall_at_{k}``, the fraction of queries with a row of their class among the k nearest;
        ``map_at_r``; ``r_precision``, the fraction of the R nearest that are of the class; each a
        mean over queries in [0, 1]. ``queries`` counts them; ``left_out`` counts the queries whose
        class is not in the gallery.

    Raises:
        ValueError: If a k exceeds the rows to search, no query's class is in the gallery, a label
            is negative, or an embedding is not finite.

    References:
        Song et al., 2016, arXiv:1511.06452: recall@k as the fraction of queries that find one;
        Musgrave et al., 2020, arXiv:2003.08505: MAP@R and R-precision.

    >>> rows = torch.tensor([[0.0], [1.0], [1.9], [5.0]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> retrieval(table, ks=[1], metric="euclidean")["recall_at_1"]  # rows 1 and 2 find each other
    0.5
    """
    queries = _checked(gallery, query, ks)
    relevant = counts_of(gallery.labels, queries.labels) - int(query is None)
    if not relevant.any():
        raise ValueError("no query has another row of its class to find; retrieval needs one")
    depths = relevant.clamp(min=max(ks)) * (relevant > 0)
    found = [
        _measure(gallery.labels[near] == queries.labels[rows, None], relevant[rows], ks)
        for rows, near in nearest(gallery.embeddings, _rows(query), depths, metric=metric)
    ]
    names = [*(f"recall_at_{k}" for k in ks), "map_at_r", "r_precision"]
    means = torch.cat(found).mean(dim=0).tolist()
    counts = {"queries": (relevant > 0).sum().item(), "left_out": (relevant == 0).sum().item()}
    return dict(zip(names, means, strict=True)) | {name: float(n) for name, n in counts.items()}


def label_distances(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    label_values: Float[Tensor, "classes values"],
    ks: Sequence[int] = (1, 2, 4, 8),
) -> dict[str, float]:
    """Distance between a query's continuous label and those of its nearest neighbors.

    Neighbors are nearest by Euclidean distance of embeddings.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        label_values: Continuous label of each class, such as an age or a pose.
        ks: Numbers of nearest neighbors to average over.

    Returns:
        ``label_distance_at_{k}``, the Euclidean distance of labels in their own unit, averaged
        over the k nearest neighbors and over queries; 0 if all have the label of the query.

    Raises:
        ValueError: If a k exceeds the rows to search, a label is negative, or an embedding is not
            finite.

    References:
        Kim et al., 2019, arXiv:1904.09626, sec. 5: mean pose distance.

    >>> rows = torch.tensor([[0.0], [1.0], [1.9]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.arange(3))
    >>> ages = torch.tensor([[20.0], [30.0], [60.0]])
    >>> label_distances(table, label_values=ages, ks=[1])  # (10 + 30 + 30) / 3
    {'label_distance_at_1': 23.333333333333332}
    """
    queries = _checked(gallery, query, ks)
    depths, found = torch.full_like(queries.labels, max(ks)), list[Tensor]()
    values = label_values.double()
    for rows, near in nearest(gallery.embeddings, _rows(query), depths, metric="euclidean"):
        differences = values[gallery.labels[near]] - values[queries.labels[rows], None]
        apart = differences.norm(dim=2)
        found.append(torch.stack([apart[:, :k].mean(dim=1) for k in ks], dim=1))
    means = torch.cat(found).mean(dim=0).tolist()
    return {f"label_distance_at_{k}": mean for k, mean in zip(ks, means, strict=True)}


def _rows(query: EmbeddingTable | None) -> Tensor | None:
    return None if query is None else query.embeddings


def _checked(
    gallery: EmbeddingTable, query: EmbeddingTable | None, ks: Sequence[int]
) -> EmbeddingTable:
    """The rows that are searched for, once all arguments are checked."""
    check_ks(ks, len(gallery.labels) - (query is None))
    queries, dim = gallery if query is None else query, gallery.embeddings.shape[1]
    for name, table in (("gallery", gallery), ("query", queries)):
        if (other := table.embeddings.shape[1]) != dim:
            raise ValueError(f"gallery and query must be of one dimension, got {dim} and {other}")
        if (table.labels < 0).any():
            raise ValueError(
                f"{name} labels must be at least 0, got {int(table.labels.min())}; leave rows "
                "without a class out"
            )
        finite = table.embeddings.isfinite().all(dim=1)
        if not finite.all():
            raise ValueError(f"{name} row {int((~finite).nonzero()[0])} is not finite")
    return queries


def _measure(
    right: Bool[Tensor, "queries depth"], relevant: Int[Tensor, " queries"], ks: Sequence[int]
) -> Float[Tensor, "queries measures"]:
    """Recall at each k, MAP@R and R-precision of each query, from which neighbors are right."""
    ranks = torch.arange(1, right.shape[1] + 1)
    hits = [right[:, :k].any(dim=1).double() for k in ks]
    counted = right & (ranks <= relevant[:, None])
    precision = counted.cumsum(dim=1).double() / ranks
    map_at_r = (precision * counted).sum(dim=1) / relevant
    return torch.stack([*hits, map_at_r, counted.sum(dim=1).double() / relevant], dim=1)
