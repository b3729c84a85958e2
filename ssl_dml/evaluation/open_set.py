"""Identification where not everybody who is looked for is enrolled."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import fraction, inside
from ssl_dml.distances import Distance
from ssl_dml.evaluation.bootstrap import interval, percentiles
from ssl_dml.evaluation.pair_counts import (
    GROUPS,
    drawn_weights,
    edges_of,
    from_each,
    groups_of,
    rates_at,
)
from ssl_dml.evaluation.roc import Roc
from ssl_dml.evaluation.scoring import Scoring
from ssl_dml.evaluation.search import nearest
from ssl_dml.tables import EmbeddingTable

FPIRS = (0.3, 0.1, 0.01, 0.001)
DRAWS = 500


def open_set(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    metric: Distance = "cosine",
    fpirs: Sequence[float] = FPIRS,
    unknown: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """How many of the enrolled are identified when few of the others may be.

    A query is identified as the identity of the most similar enrolled row if their score is above
    a threshold: the cosine, the dot product, or minus the distance.

    Args:
        gallery: Enrolled rows, whose labels are identities.
        query: Samples to identify; those whose identity is not enrolled are unknown. Where all are
            enrolled, a part of the identities is drawn and not enrolled. None for samples of the
            gallery: half of the rows of each identity are enrolled, at least one, and the others
            search.
        metric: How rows are compared.
        fpirs: False positive identification rates, above 0.
        unknown: Part of the identities that is not enrolled, where it is drawn.
        confidence: Of intervals, by resampling identities.
        seed: Of what is drawn.

    Returns:
        ``dir_at_fpir_{rate}``, the largest fraction of known queries that any threshold identifies
        rightly while the fraction of unknown queries that are taken for anybody is not above the
        rate, and ``threshold_at_fpir_{rate}``, that threshold: both are NaN where unknown queries
        are fewer than 1 / rate, as nothing can be said then. ``rank_1``, the fraction of known
        queries whose most similar row is of their identity. ``NAME_low`` and ``NAME_high`` are the
        interval. ``enrolled``, ``known`` and ``unknown`` count rows.

    Raises:
        ValueError: If no query is known, or none is unknown.

    References:
        Phillips, Grother and Micheals, 2011, Handbook of Face Recognition, ch. 21 (detection and
        identification rate).

    >>> enrolled = EmbeddingTable(embeddings=torch.eye(2), labels=torch.tensor([0, 1]))
    >>> rows = torch.tensor([[4.0, 3.0], [0.0, 1.0], [1.0, 1.0]])
    >>> queries = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 1, 2]))
    >>> open_set(enrolled, queries, fpirs=[1.0])["dir_at_fpir_1"]
    1.0
    """
    fraction(**{f"fpir {rate}": rate for rate in fpirs})
    inside(0, 1, unknown=unknown, confidence=confidence)
    enrolled, queries = _divided(gallery, query, unknown, seed)
    known = torch.isin(queries.labels, enrolled.labels)
    if not known.any() or known.all():
        lacking = "unknown" if known.any() else "known"
        raise ValueError(f"open_set needs {lacking} queries, and there are none")
    scores, right = _identified(enrolled, queries, metric)
    # What is taken for another is not identified by any threshold.
    genuine, others = torch.where(right, scores, -torch.inf)[known], scores[~known]
    roc, found = Roc.of(genuine, others), dict[str, float]()
    labels = queries.labels[known], queries.labels[~known]
    draws = _draws(genuine, others, labels, fpirs, seed)
    groups = min(GROUPS, *(len(each.unique()) for each in labels))
    for rate in fpirs:
        at, nothing = roc.at_far(rate), float("nan")
        measurable, name = roc.measurable(rate), f"dir_at_fpir_{rate:g}"
        low, high = nothing, nothing
        if measurable:
            low, high = percentiles(draws[rate], groups, confidence)
        found[name] = (genuine > at.threshold).double().mean().item() if measurable else nothing
        found |= {f"{name}_low": low, f"{name}_high": high}
        found[f"threshold_at_fpir_{rate:g}"] = at.threshold if measurable else nothing
    counts = {"enrolled": len(enrolled.labels), "known": known.sum(), "unknown": (~known).sum()}
    first, low, high = interval(right[known].double(), labels[0], confidence=confidence, seed=seed)
    found |= {"rank_1": first, "rank_1_low": low, "rank_1_high": high}
    return found | {name: float(count) for name, count in counts.items()}


def _divided(
    gallery: EmbeddingTable, query: EmbeddingTable | None, unknown: float, seed: int
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Enrolled rows and queries."""
    if query is not None and not torch.isin(query.labels, gallery.labels).all():
        return gallery, query
    generator = torch.Generator().manual_seed(seed)
    identities = gallery.labels.unique()
    count = round(unknown * len(identities))
    order = torch.randperm(len(identities), generator=generator)
    kept = ~torch.isin(gallery.labels, identities[order[: max(1, count)]])
    if query is not None:
        return gallery.at(kept.nonzero()[:, 0]), query
    # The first half of each identity's rows, which are in random order.
    rows = torch.randperm(len(gallery.labels), generator=generator)
    rows = rows[gallery.labels[rows].argsort(stable=True)]
    _, own, sizes = gallery.labels[rows].unique_consecutive(return_inverse=True, return_counts=True)
    starts = sizes.cumsum(dim=0) - sizes
    first = torch.arange(len(rows)) - starts[own] < (sizes[own] // 2).clamp(min=1)
    enrolled = first & kept[rows]
    return gallery.at(rows[enrolled]), gallery.at(rows[~enrolled])


def _identified(
    enrolled: EmbeddingTable, queries: EmbeddingTable, metric: Distance
) -> tuple[Float[Tensor, " queries"], Bool[Tensor, " queries"]]:
    """The score of the most similar enrolled row of each query, and whether it is the right one."""
    rows = enrolled.embeddings, queries.embeddings
    scoring, depths = Scoring(rows, metric), torch.ones(len(queries.labels), dtype=torch.long)
    scores, right = torch.empty(len(depths)), torch.empty(len(depths), dtype=torch.bool)
    for some, near in nearest(*rows, depths, metric=metric):
        best = near[:, 0]
        scores[some] = scoring.pairs(scoring.rows(rows[0][best]), scoring.rows(rows[1][some]))
        right[some] = enrolled.labels[best] == queries.labels[some]
    return scores, right


def _draws(
    genuine: Float[Tensor, " known"],
    unknown: Float[Tensor, " unknown"],
    labels: tuple[Int[Tensor, " known"], Int[Tensor, " unknown"]],
    fpirs: Sequence[float],
    seed: int,
) -> dict[float, Float[Tensor, " draws"]]:
    """The rate of identification in draws of known and of unknown identities, at each FPIR."""
    edges, rates = edges_of(genuine[genuine > -torch.inf]), list[Tensor]()
    for scores, identities in zip((genuine, unknown), labels, strict=True):
        groups, count = groups_of(identities, seed=seed)
        places = groups * len(edges) + torch.searchsorted(edges, scores, right=True) - 1
        counts = torch.bincount(places[scores > -torch.inf], minlength=count * len(edges))
        weights = drawn_weights(count, DRAWS, seed)
        accepted = weights @ from_each(counts.view(count, -1))
        rates.append((accepted / (weights @ torch.bincount(groups).double())[:, None]).flip(1))
    return rates_at(rates[0], rates[1], fpirs)
