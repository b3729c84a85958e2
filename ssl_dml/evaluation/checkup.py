"""The health of a table of embeddings without labels, and what is unusual about it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.evaluation.health import (
    alignment,
    alpha_req,
    evenly_spaced,
    health,
    intrinsic_dimension,
    lidar,
)
from ssl_dml.evaluation.hubs import neighborhood
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

ROWS = 5000  # whose neighbors are searched among each other
FEWEST = 100


def checkup(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    k: int = 10,
    views: Float[Tensor, "samples views dim"] | None = None,
) -> dict[str, float]:
    """Every measure of health without labels, see :mod:`ssl_dml.evaluation.health`.

    Args:
        gallery: The embeddings; of more than 5,000 rows, evenly spaced ones.
        query: None; health is of one table.
        k: Neighbors of which hubness is the skewness of the occurrence.
        views: Embeddings of two or more views of some samples; None leaves ``lidar`` and
            ``alignment`` out.

    Returns:
        ``dimensions``; ``rankme``, ``spread`` and ``uniformity`` of
        :func:`~ssl_dml.evaluation.health.health`; ``alpha_req``; ``hubness``;
        ``intrinsic_dimension``, of unit rows; with views ``lidar`` and ``alignment``.

    Raises:
        ConfigError: If there are fewer than 100 rows, or a query.
        ValueError: If a row is not finite.

    >>> sphere = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    >>> found = checkup(EmbeddingTable(embeddings=sphere, labels=torch.full((400,), -1)))
    >>> {name: round(found[name]) for name in ("dimensions", "rankme", "intrinsic_dimension")}
    {'dimensions': 3, 'rankme': 3, 'intrinsic_dimension': 2}
    """
    rows = gallery.embeddings
    if query is not None:
        raise ConfigError("health is of one table: leave --query out")
    if len(rows) < FEWEST:
        raise ConfigError(f"health needs {FEWEST} samples or more, got {len(rows)}: embed more")
    if not rows.isfinite().all():
        raise ValueError("the embeddings hold NaN or infinity")
    some = rows[evenly_spaced(len(rows), ROWS)]
    near = neighborhood(some, k)
    measured = {"dimensions": float(rows.shape[1]), **health(rows), "alpha_req": alpha_req(rows)}
    measured["hubness"] = near.skewness
    unit = F.normalize(some.double(), dim=1)
    two = torch.stack([(unit - unit[column]).norm(dim=1) for column in near.rows[:, :2].T], dim=1)
    measured["intrinsic_dimension"] = intrinsic_dimension(two)
    if views is not None:
        measured |= {"lidar": lidar(views), "alignment": alignment(views[:, 0], views[:, 1])}
    return measured


class Usual(NamedTuple):
    """Where a measure usually lies, and what it means if it does not.

    Attributes:
        name: As people write it.
        low: Lower end; None where a low value is nothing to tell.
        high: Upper end; None likewise.
        below: What a value below means.
        above: What a value above means.
        source: Where the ends are from.
    """

    name: str
    low: float | None
    high: float | None
    below: str
    above: str
    source: str


SHARES = ("rankme", "lidar", "intrinsic_dimension")
USUAL: dict[str, Usual] = {}


def unusual(measured: Mapping[str, float]) -> list[str]:
    """A sentence for each measure that is out of its usual range.

    Args:
        measured: Results of :func:`checkup`.
    """
    found = list[str]()
    for key, usual in USUAL.items():
        value = measured.get(key)
        if value is None:
            continue
        ends = usual.low, usual.high
        if key in SHARES:
            ends = tuple(None if end is None else end * measured["dimensions"] for end in ends)
        for end, word, meaning in zip(ends, ("below", "above"), usual[3:5], strict=True):
            if end is not None and (value < end if word == "below" else value > end):
                found.append(
                    f"{usual.name} {value:.2f} is {word} {end:.3g} ({usual.source}): {meaning}"
                )
    return found
