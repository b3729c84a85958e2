"""All that a report shows of a table of embeddings, measured once."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.evaluation.bootstrap import Gain, paired_gain
from ssl_dml.evaluation.confusions import predictions
from ssl_dml.evaluation.health import health
from ssl_dml.evaluation.hubs import Neighborhood, neighborhood
from ssl_dml.evaluation.map import clusters, neighbor_map, pca
from ssl_dml.evaluation.similarities import Pairs, pairs
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

K = 10
FEWEST = 3  # rows
CLUSTERS = 10


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """What labels add.

    Args:
        rows: The labeled rows of the table.
        predicted: Class of each by a weighted kNN among the others.
        right: Whether that is its class.
        accuracy: The share of those, with its 95% interval.
        pairs: Cosines of all pairs; None if no two rows are of one class.
    """

    rows: Int[Tensor, " labeled"]
    predicted: Int[Tensor, " labeled"]
    right: Bool[Tensor, " labeled"]
    accuracy: Gain
    pairs: Pairs | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is to be seen in a table.

    Args:
        maps: Coordinates on planes, by name.
        groups: The k-means cluster of each row.
        near: Neighbors of each row among all others.
        health: Measures without labels.
        supervised: What labels add; None without two classes.
        notes: What is left out, and why.
    """

    maps: dict[str, Float[Tensor, "rows 2"]]
    groups: Int[Tensor, " rows"]
    near: Neighborhood
    health: dict[str, float]
    supervised: Supervised | None
    notes: list[str] = field(default_factory=list)


def look(table: EmbeddingTable, *, seed: int = 0) -> Look:
    """Measure and map a table of some thousand rows.

    Args:
        table: Embeddings; labels are -1 where there are none.
        seed: Of the map and the clusters.

    Raises:
        ConfigError: If there are too few rows, or one holds NaN or infinity.
    """
    rows, labels = table.embeddings, table.labels
    if len(rows) < FEWEST:
        raise ConfigError(f"at least {FEWEST} embeddings are needed, got {len(rows)}")
    if not rows.isfinite().all():
        raise ConfigError("the embeddings hold NaN or infinity")
    notes = list[str]()
    points, share = pca(rows)
    maps = {f"PCA ({share.sum():.0%} of the variance)": points}
    try:
        name, found = neighbor_map(rows, seed=seed)
        maps = {name: found, **maps}
    except ConfigError as error:
        notes.append(str(error))
    labeled = (labels >= 0).nonzero()[:, 0]
    classes = len(labels[labeled].unique())
    if classes <= 1:
        given = "no labels" if not len(labeled) else "one class alone"
        notes.append(f"{given}: no hits and misses, confusions, or similarities by class")
    return Look(
        maps=maps,
        groups=clusters(rows, classes if classes > 1 else CLUSTERS, seed=seed),
        near=neighborhood(rows, K),
        health=health(rows),
        supervised=_supervised(rows[labeled], labels[labeled], labeled) if classes > 1 else None,
        notes=notes,
    )


def _supervised(
    rows: Float[Tensor, "labeled dim"], labels: Int[Tensor, " labeled"], at: Int[Tensor, " labeled"]
) -> Supervised:
    predicted = predictions(neighborhood(rows, 2 * K), labels)
    right = predicted == labels
    found = pairs(rows, labels)
    return Supervised(
        rows=at,
        predicted=predicted,
        right=right,
        accuracy=paired_gain(torch.zeros_like(right), right),
        pairs=found if len(found.same) else None,
    )
