"""How well a threshold of similarity tells whether two samples are of one identity."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least, fraction, inside
from ssl_dml.distances import Distance
from ssl_dml.evaluation.all_pairs import AllPairs
from ssl_dml.evaluation.bootstrap import percentiles
from ssl_dml.evaluation.conditions import values_of
from ssl_dml.evaluation.pair_counts import (
    Counts,
    count_listed,
    drawn_weights,
    groups_of,
    weighted,
)
from ssl_dml.evaluation.pairs import PairList, drawn_pairs, read_pairs
from ssl_dml.evaluation.roc import Roc, by_folds
from ssl_dml.evaluation.scoring import Scoring
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError, shown

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
HELD = 2**22  # pairs whose scores are held
PART = 2**22  # values at once


def verification(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    metric: Distance = "cosine",
    fars: Sequence[float] = FARS,
    pairs: Path | None = None,
    drawn: int | None = None,
    template: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Are two samples of one identity? AUC, equal error rate, and TAR at FAR.

    A pair is accepted if its score is above a threshold: the cosine, the dot product, or minus
    the distance. Of more than four million pairs, scores are rounded to a part in 2^18 of their
    range, for cosines 8e-6, and counted instead of held; rates are exact for the rounded scores.

    Args:
        gallery: Samples whose labels are identities.
        query: Others; pairs are then of one of these and one of the gallery.
        metric: How pairs are compared.
        fars: False acceptance rates, above 0.
        pairs: A file of pairs: ``path,path,same`` with 1 or 0 and optionally a fold, or
            ``pairs.txt`` of Labeled Faces in the Wild. Null for all pairs.
        drawn: Genuine pairs, and as many impostors, to draw instead of all.
        template: A column whose value several rows share; pairs are then of the means of their
            unit rows, named by the value.
        confidence: Of intervals, by resampling identities, in 64 groups if there are more.
        seed: Of what is drawn.

    Returns:
        ``auc``; ``eer``, the error rate where both kinds of error are equally frequent;
        ``tar_at_far_{far}``, the largest fraction of genuine pairs that any threshold accepts
        while the fraction of impostors is not above the rate, and ``threshold_at_far_{far}``, that
        threshold: both are NaN where impostors are fewer than 1 / far, as nothing can be said
        then. ``NAME_low`` and ``NAME_high`` are the interval. ``genuine`` and ``impostors`` count
        pairs. Of pairs of a file or drawn ones also ``accuracy``, each fold of ten by the best
        threshold of the others.

    Raises:
        ValueError: If there are no genuine or no impostor pairs, a pair is not among the samples,
            or both pairs and drawn are given.

    References:
        Huang et al., 2007, Labeled Faces in the Wild (ten folds); Klare et al., 2015, IARPA Janus
        Benchmark A (templates, TAR at FAR).

    >>> rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> found = verification(table, fars=[0.1, 0.25])
    >>> found["tar_at_far_0.25"], found["tar_at_far_0.1"], found["impostors"]
    (1.0, nan, 4.0)
    """
    fraction(**{f"far {far}": far for far in fars})
    at_least(1, drawn=drawn)
    inside(0, 1, confidence=confidence)
    if pairs is not None and drawn is not None:
        raise ConfigError(f"pairs are of the file {pairs} or drawn, not both: leave one out")
    tables = [gallery] if query is None else [gallery, query]
    if template is not None:
        tables = [templates(table, template) for table in tables]
    listed = _listed(tables, pairs, drawn, seed)
    if listed is None:
        roc, counts = _all(tables, metric, seed)
        further = dict[str, float]()
    else:
        table = tables[0] if len(tables) == 1 else _joined(tables)
        scores = _scores(table, listed, metric)
        roc = Roc.of(scores[listed.same], scores[~listed.same])
        groups, count = groups_of(table.labels, seed=seed)
        counts = count_listed(scores, listed, groups, count)
        further = _accuracy(scores, listed, groups, count, confidence, seed)
    intervals = counts.intervals(fars, confidence=confidence, seed=seed)
    return {**_measured(roc, fars, intervals), **further, **_counted(roc)}


def _listed(
    tables: Sequence[EmbeddingTable], pairs: Path | None, drawn: int | None, seed: int
) -> PairList | None:
    """Pairs that are held; None for all, which are too many."""
    labels = torch.cat([table.labels for table in tables])
    if pairs is not None:
        return read_pairs(pairs, [name for table in tables for name in table.names or ()])
    if drawn is not None:
        return drawn_pairs(labels, drawn, seed=seed)
    first, last = len(tables[0].labels), len(tables[-1].labels)
    if first * last > HELD * (2 if len(tables) == 1 else 1):
        return None
    if len(tables) == 1:
        one, two = torch.triu_indices(first, first, offset=1)
    else:
        one, two = torch.cartesian_prod(torch.arange(first), torch.arange(last)).unbind(dim=1)
        two = two + first
    return PairList(first=one, second=two, same=labels[one] == labels[two])


def _joined(tables: Sequence[EmbeddingTable]) -> EmbeddingTable:
    return EmbeddingTable(
        embeddings=torch.cat([table.embeddings for table in tables]),
        labels=torch.cat([table.labels for table in tables]),
    )


def _all(tables: Sequence[EmbeddingTable], metric: Distance, seed: int) -> tuple[Roc, Counts]:
    one, two = tables[0], None if len(tables) == 1 else tables[1]
    labels = torch.cat([table.labels for table in tables])
    groups, count = groups_of(labels, seed=seed)
    both = groups.split([len(table.labels) for table in tables])
    scoring = Scoring([table.embeddings for table in tables], metric)
    return AllPairs(
        scoring=scoring, one=one, two=two, groups=(both[0], both[-1]), count=count
    ).counted()


def _scores(table: EmbeddingTable, pairs: PairList, metric: Distance) -> Float[Tensor, " pairs"]:
    scoring, found = Scoring([table.embeddings], metric), torch.empty(len(pairs.same))
    for part in torch.arange(len(found)).split(max(1, PART // table.embeddings.shape[1])):
        one, two = (
            scoring.rows(table.embeddings[each[part]]) for each in (pairs.first, pairs.second)
        )
        found[part] = scoring.pairs(one, two)
    return found


def _measured(
    roc: Roc, fars: Sequence[float], intervals: Mapping[str | float, tuple[float, float]]
) -> dict[str, float]:
    """Measures, each with its interval."""
    found = dict[str, float]()
    for name, value in (("auc", roc.auc()), ("eer", roc.eer())):
        found |= {name: value} | _interval(name, intervals[name])
    for far in fars:
        name, known = f"tar_at_far_{far:g}", roc.measurable(far)
        at, nothing = roc.at_far(far), float("nan")
        found[name] = at.tar if known else nothing
        found |= _interval(name, intervals[far] if known else (nothing, nothing))
        found[f"threshold_at_far_{far:g}"] = at.threshold if known else nothing
    return found


def _interval(name: str, ends_: tuple[float, float]) -> dict[str, float]:
    return {f"{name}_low": ends_[0], f"{name}_high": ends_[1]}


def _counted(roc: Roc) -> dict[str, float]:
    return {"genuine": float(roc.genuine.sum()), "impostors": float(roc.impostors.sum())}


def _accuracy(
    scores: Float[Tensor, " pairs"],
    pairs: PairList,
    groups: Tensor,
    count: int,
    confidence: float,
    seed: int,
) -> dict[str, float]:
    """Accuracy by folds, and its interval by resampling groups of identities."""
    if pairs.folds is None:
        return {}
    right, _ = by_folds(scores, pairs.same, pairs.folds)
    block = groups[pairs.first] * count + groups[pairs.second]
    sums = [
        torch.bincount(block, weights=each.double(), minlength=count**2)
        for each in (right, torch.ones_like(right))
    ]
    hits, all_ = weighted(torch.stack(sums, dim=1), drawn_weights(count, 500, seed)).unbind(dim=1)
    name, value = "accuracy", right.double().mean().item()
    return {name: value} | _interval(name, percentiles(hits / all_, count, confidence))


def templates(table: EmbeddingTable, column: str) -> EmbeddingTable:
    """One row for each value of a column: the mean of the unit rows that have it.

    Raises:
        ConfigError: If the column is missing, or rows of two identities share a value.

    >>> rows = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> table = EmbeddingTable(
    ...     embeddings=rows, labels=torch.tensor([4, 4, 5]), columns={"template": ["a", "a", "b"]}
    ... )
    >>> found = templates(table, "template")
    >>> found.embeddings, found.labels, found.names
    (tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]]), tensor([4, 5]), ['a', 'b'])
    """
    values = values_of(table, column)
    number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    own = torch.tensor([number[value] for value in values])
    labels = torch.zeros(len(number), dtype=torch.long).scatter_(0, own, table.labels)
    mixed = (labels[own] != table.labels).nonzero()[:, 0]
    if len(mixed):
        value = shown(values[int(mixed[0])])
        raise ConfigError(f"the value {value} of {column} is shared by samples of two classes")
    sums = torch.zeros(len(number), table.embeddings.shape[1], dtype=torch.double)
    for part in torch.arange(len(own)).split(max(1, PART // sums.shape[1])):
        sums.index_add_(0, own[part], F.normalize(table.embeddings[part].double(), dim=1))
    means = sums / torch.bincount(own)[:, None]
    return EmbeddingTable(embeddings=means.float(), labels=labels, names=list(number))
