"""How well a nearest-neighbor search by embedding finds what has the same label."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import inside
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.evaluation.conditions import LeaveOut, across_values, numbered
from ssl_dml.evaluation.rerank import Rerank, reranker
from ssl_dml.evaluation.search import Excluded, Metric, check_ks, counts_of, nearest
from ssl_dml.tables import EmbeddingTable

Kind = Literal["recall", "precision", "mrr", "map_at_r", "r_precision", "map", "map_trapezoid"]
Measured = dict[str, Float[Tensor, " queries"]]
USUAL: tuple[Kind, ...] = ("recall", "map_at_r", "r_precision")
WHOLE = {"map", "map_trapezoid"}  # of the whole ranking


def retrieval(  # noqa: PLR0913 - options of a configuration
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    metric: Metric = "cosine",
    measures: Sequence[Kind] = USUAL,
    across: str | None = None,
    only: Any = None,  # noqa: ANN401 - whatever the column holds
    leave_out: LeaveOut = "value",
    rerank: Rerank | None = None,
    confidence: float | None = None,
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    r"""Recall@k, MAP@R, R-precision and others of an exact search.

    With R gallery rows of the query's class and P(i) the precision among the i nearest,

    .. math:: \text{MAP@R} = \frac1R \sum_{i \le R} P(i) \, [i \text{ is of the class}]

    and ``map`` is the same sum over the whole ranking. Distances are computed in float64 and
    compared in float32. Of equal ones, such as those of copies, the lower row comes first. Memory
    does not grow with the square of the rows.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        ks: Numbers of nearest neighbors for recall and precision; the largest is that of mrr.
        metric: Which distance; ``cosine`` ignores the lengths of embeddings. The covariance of a
            Mahalanobis distance is that of the gallery.
        measures: Which are returned; ``map`` and ``map_trapezoid`` sort the whole gallery.
        across: A column of the samples, such as ``camera``: no query finds rows of its own value.
        only: Search only for rows with this value of the column.
        leave_out: Of the rows with the query's value, leave out all, or only those of its class,
            as re-identification does.
        rerank: Put the nearest in an order by what else is near to them; null for none.
        confidence: Of intervals, by resampling classes; null for none.
        compute: The device that searches, and the processes that share the queries.

    Returns:
        Means over queries in [0, 1]. ``recall_at_{k}``, also known as CMC: the fraction of queries
        with a row of their class among the k nearest. ``precision_at_{k}``: the fraction of the k
        nearest that are of the class. ``mrr_at_{k}``: 1 over the rank of the first of the class,
        0 beyond k. ``map_at_r``. ``r_precision``: the fraction of the R nearest that are of the
        class. ``map``. ``map_trapezoid``: the same with the mean of the precision at i and before
        i, as the code of Market-1501 has it. ``NAME_low`` and ``NAME_high``: the interval.
        ``queries`` counts queries; ``left_out`` those whose class is not among what they search.

    Raises:
        ValueError: If a k exceeds the rows to search, no query's class is in the gallery, a label
            is negative, an embedding is not finite, or a column is missing.

    References:
        Song et al., 2016, arXiv:1511.06452: recall@k as the fraction of queries that find one;
        Musgrave et al., 2020, arXiv:2003.08505: MAP@R and R-precision;
        Zheng et al., 2015, Scalable Person Re-identification: a Benchmark, sec. 3: a query's
        identity on its own camera is left out.

    >>> rows = torch.tensor([[0.0], [1.0], [1.9], [5.0]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> retrieval(table, ks=[1], metric="euclidean")["recall_at_1"]  # rows 1 and 2 find each other
    0.5
    """
    _checked(gallery, query, ks)
    inside(0, 1, confidence=confidence)
    query, exclude = across_values(gallery, query, across, only=only, leave_out=leave_out)
    queries = gallery if query is None else query
    relevant = _relevant(gallery, queries, exclude, itself=query is None)
    if not relevant.any():
        raise ValueError("no query has another row of its class to find; retrieval needs one")
    rows, order = _rows(query), None
    depths = relevant.clamp(min=len(gallery.labels) if WHOLE & {*measures} else max(ks))
    if rerank is not None:
        depths = depths.clamp(min=rerank.candidates)
        order = reranker(gallery.embeddings, rows, rerank, metric=metric)
    depths = depths.clamp(max=len(gallery.labels) - (query is None)) * (relevant > 0)
    names = list(measured(torch.zeros(0, max(ks)).bool(), relevant[:0], measures, ks))
    found = torch.zeros(len(names), len(relevant), dtype=torch.double)
    given = {"metric": metric, "exclude": exclude, "compute": compute}
    for own, near in nearest(gallery.embeddings, rows, depths, **given):
        near = near if order is None else order(own, near)  # noqa: PLW2901 - in another order
        right = (gallery.labels[near] == queries.labels[own, None]) & (near >= 0)
        found[:, own] = torch.stack([*measured(right, relevant[own], measures, ks).values()])
    results, asked = dict[str, float](), relevant > 0
    groups = queries.labels[asked]
    for name, values in zip(names, compute.whole(found)[:, asked], strict=True):
        results[name] = values.mean().item()
        if confidence is not None:
            _, low, high = interval(values, groups, confidence=confidence)
            results |= {f"{name}_low": low, f"{name}_high": high}
    counts = {"queries": (relevant > 0).sum(), "left_out": (relevant == 0).sum()}
    return results | {name: float(count) for name, count in counts.items()}


def _relevant(
    gallery: EmbeddingTable, queries: EmbeddingTable, exclude: Excluded | None, *, itself: bool
) -> Int[Tensor, " queries"]:
    """How many rows each query could find that are of its class."""
    count = counts_of(gallery.labels, queries.labels)
    if exclude is None:
        return count - int(itself)
    labels = torch.cat([gallery.labels, queries.labels])
    both = numbered(labels, torch.cat(exclude))
    return count - counts_of(both[: len(exclude[0])], both[len(exclude[0]) :])


def label_distances(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    label_values: Float[Tensor, "classes values"],
    ks: Sequence[int] = (1, 2, 4, 8),
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    """Distance between a query's continuous label and those of its nearest neighbors.

    Neighbors are nearest by Euclidean distance of embeddings.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        label_values: Continuous label of each class, such as an age or a pose.
        ks: Numbers of nearest neighbors to average over.
        compute: The device that searches, and the processes that share the queries.

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
    depths, values = torch.full_like(queries.labels, max(ks)), label_values.double()
    found = torch.zeros(len(depths), len(ks), dtype=torch.double)
    given = {"metric": "euclidean", "compute": compute}
    for rows, near in nearest(gallery.embeddings, _rows(query), depths, **given):
        differences = values[gallery.labels[near]] - values[queries.labels[rows], None]
        apart = differences.norm(dim=2)
        found[rows] = torch.stack([apart[:, :k].mean(dim=1) for k in ks], dim=1)
    means = compute.whole(found).mean(dim=0).tolist()
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


def measured(
    right: Bool[Tensor, "queries depth"],
    relevant: Int[Tensor, " queries"],
    measures: Sequence[Kind],
    ks: Sequence[int],
) -> Measured:
    """Measures of each query, from which neighbors are right."""
    ranks, most = torch.arange(1, right.shape[1] + 1), max(ks)
    found = right.cumsum(dim=1).double()
    precision = found / ranks
    before = F.pad(precision[:, :-1], (1, 0), value=1.0)
    within = right & (ranks <= relevant[:, None])
    of_each = {
        "recall": lambda: {f"recall_at_{k}": right[:, :k].any(dim=1).double() for k in ks},
        "precision": lambda: {
            f"precision_at_{k}": right[:, :k].sum(dim=1).double() / k for k in ks
        },
        "mrr": lambda: {f"mrr_at_{most}": (right / ranks.double())[:, :most].amax(dim=1)},
        "map_at_r": lambda: {"map_at_r": (precision * within).sum(dim=1) / relevant},
        "r_precision": lambda: {"r_precision": within.sum(dim=1).double() / relevant},
        "map": lambda: {"map": (precision * right).sum(dim=1) / relevant},
        "map_trapezoid": lambda: {
            "map_trapezoid": ((precision + before) / 2 * right).sum(dim=1) / relevant
        },
    }
    return {name: values for each in measures for name, values in of_each[each]().items()}
