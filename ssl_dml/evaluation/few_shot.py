"""Few-shot classification: a few labeled rows of new classes classify others of them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.checks import seeds as check_seeds
from ssl_dml.evaluation.repeated import repeated
from ssl_dml.evaluation.search import Metric
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

TILE = 2**22  # values of the rows of episodes held at once


def few_shot(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    ways: int = 5,
    shots: Sequence[int] = (1, 5),
    queries: int = 15,
    episodes: int = 600,
    metric: Metric = "cosine",
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy of N ways and K shots, by prototypes and by the nearest neighbor.

    An episode draws N classes, and of each K labeled rows and some queries, none of them twice.

    Args:
        gallery: Rows that are drawn from.
        query: Rows that the queries are drawn from, of classes that both have; None for the
            gallery.
        ways: N, classes of an episode.
        shots: K, labeled rows of each class; several are measured one after the other.
        queries: Rows of each class to classify.
        episodes: Number of episodes, 2 or more.
        metric: Which distance; for ``cosine`` rows are L2-normalized before they are averaged.
        seed: Seed of the episodes.

    Returns:
        For each K ``{N}way_{K}shot_prototypes``, the accuracy of the nearest mean of a class's
        labeled rows, and ``{N}way_{K}shot_nearest``, that of the nearest labeled row; each a mean
        over episodes in [0, 1], with its 95% interval. ``classes`` counts those that are drawn
        from, with enough rows.

    Raises:
        ConfigError: If an option is out of range, or fewer than N classes have enough rows.

    References:
        Vinyals et al., 2016, arXiv:1606.04080 (episodes); Snell et al., 2017, arXiv:1703.05175,
        eq. 1 and 2 (prototypes, with ``metric`` euclidean).

    >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> few_shot(table, ways=2, shots=[1], queries=1, episodes=9)["2way_1shot_prototypes"]
    1.0
    """
    at_least(2, "few_shot", ways=ways, episodes=episodes)
    at_least(1, "few_shot", queries=queries)
    check_seeds("few_shot", seed=seed)
    if not shots or min(shots) < 1:
        raise ConfigError(f"few_shot.shots must be 1 or more, got {list(shots)}")
    pool = _Pool.of(gallery, query, shots=max(shots), queries=queries)
    if len(pool.classes) < ways:
        raise ConfigError(
            f"few_shot.ways is {ways}, and {len(pool.classes)} classes have the {max(shots)} rows "
            f"of few_shot.shots and {queries} of few_shot.queries: lower one of them"
        )
    results = dict[str, float]()
    for count in shots:
        rng, found = np.random.default_rng(seed), list[dict[str, float]]()
        size = ways * (count + queries) * gallery.embeddings.shape[1]
        for first in range(0, episodes, step := max(1, TILE // size)):
            drawn = [pool.episode(rng, ways, count, queries)
                     for _ in range(min(step, episodes - first))]  # fmt: skip
            support, asked = (torch.from_numpy(np.stack(rows)) for rows in zip(*drawn, strict=True))
            parts = gallery.embeddings[support], (query or gallery).embeddings[asked]
            found += _accuracies(*classified(*parts, metric=metric))
        name = f"{ways}way_{count}shot"
        results |= {f"{name}_{key}": value for key, value in repeated(found).items()}
    return {**results, "classes": float(len(pool.classes))}


def classified(
    support: Float[Tensor, "episodes ways shots dim"],
    asked: Float[Tensor, "episodes ways queries dim"],
    *,
    metric: Metric = "euclidean",
) -> tuple[Bool[Tensor, "episodes ways queries"], Bool[Tensor, "episodes ways queries"]]:
    """Whether each query is nearest to the prototype, and to a labeled row, of its own class."""
    support, asked = support.double(), asked.double()
    if metric == "cosine":
        support, asked = F.normalize(support, dim=-1), F.normalize(asked, dim=-1)
    means = support.mean(dim=2)
    means = F.normalize(means, dim=-1) if metric == "cosine" else means
    own = torch.arange(support.shape[1])[:, None]
    flat = asked.flatten(1, 2)
    by_mean = torch.cdist(flat, means).argmin(dim=2)
    by_row = torch.cdist(flat, support.flatten(1, 2)).argmin(dim=2) // support.shape[2]
    by_mean, by_row = (found.view(asked.shape[:3]) for found in (by_mean, by_row))
    return by_mean == own, by_row == own


def _accuracies(prototypes: Tensor, nearest: Tensor) -> Iterator[dict[str, float]]:
    means = (right.double().mean(dim=(1, 2)).tolist() for right in (prototypes, nearest))
    for one, two in zip(*means, strict=True):
        yield {"prototypes": one, "nearest": two}


class _Pool(NamedTuple):
    """Rows that episodes draw from, by class.

    Attributes:
        classes: Rows of the gallery and of the query of each class that has enough of both.
        shared: Whether both are the same rows.
    """

    classes: list[tuple[np.ndarray, np.ndarray]]
    shared: bool

    @classmethod
    def of(
        cls, gallery: EmbeddingTable, query: EmbeddingTable | None, *, shots: int, queries: int
    ) -> "_Pool":
        own = _by_class(gallery.labels)
        if query is None:
            enough = [rows for rows in own.values() if len(rows) >= shots + queries]
            return cls([(rows, rows) for rows in enough], True)
        asked = _by_class(query.labels)
        both = [(own[label], asked[label]) for label in own if label in asked]
        return cls([(a, b) for a, b in both if len(a) >= shots and len(b) >= queries], False)

    def episode(
        self, rng: np.random.Generator, ways: int, shots: int, queries: int
    ) -> tuple[Int[np.ndarray, "ways shots"], Int[np.ndarray, "ways queries"]]:
        """Labeled rows and queries of classes at random."""
        support, asked = [], []
        for i in rng.choice(len(self.classes), ways, replace=False):
            labeled, others = self.classes[i]
            chosen = rng.choice(labeled, shots + queries * self.shared, replace=False)
            support.append(chosen[:shots])
            rest = chosen[shots:] if self.shared else rng.choice(others, queries, replace=False)
            asked.append(rest)
        return np.stack(support), np.stack(asked)


def _by_class(labels: Int[Tensor, " rows"]) -> dict[int, Int[np.ndarray, " own"]]:
    """Rows of each class."""
    order = labels.argsort(stable=True)
    found, counts = labels.unique(return_counts=True)
    parts = order.split(counts.tolist())
    return {int(label): part.numpy() for label, part in zip(found, parts, strict=True)}
