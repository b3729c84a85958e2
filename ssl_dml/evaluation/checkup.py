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
FEWEST = 50


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
        ConfigError: If there are fewer than 50 rows, or a query.
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
        below: Lower end, from what source, and what a lower value means; None if nothing.
        above: The same of the upper end.
        share: Whether the ends are shares of the dimensions.
    """

    name: str
    below: tuple[float, str, str] | None = None
    above: tuple[float, str, str] | None = None
    share: bool = False


UNTRAINED = "half of that of an untrained network in the guide"
USUAL = {
    "rankme": Usual(
        "RankMe",
        below=(0.1, "a tenth of the dimensions", "few of them are in use, as after a collapse"),
        share=True,
    ),
    "spread": Usual(
        "spread", below=(0.1, "where a run warns of collapse", "the embeddings are nearly alike")
    ),
    "uniformity": Usual(
        "uniformity",
        above=(-0.05, UNTRAINED, "the embeddings gather in one place of the sphere"),
    ),
    "alpha_req": Usual(
        "alpha-ReQ",
        below=(0.5, "half of what Agrawal et al., 2022, find best", "noise fills the dimensions"),
        above=(4.0, "more than in any sample run of the guide", "few directions rule all"),
    ),
    "hubness": Usual(
        "hubness",
        above=(
            1.0,
            "where Radovanović et al., 2010, see hubs",
            "some samples are neighbors of far too many others, which a search then returns",
        ),
    ),
    "intrinsic_dimension": Usual(
        "intrinsic dimension",
        below=(2.0, "where data lie along lines", "neighbors differ in one way alone"),
        above=(
            30.0,
            "above the 12 to 25 of networks by Ansuini et al., 2019",
            "neighborhoods look like noise",
        ),
    ),
    "lidar": Usual(
        "LiDAR",
        below=(0.1, "a tenth of the dimensions", "few of them tell samples from their views"),
        share=True,
    ),
    "alignment": Usual(
        "alignment",
        above=(1.0, "half of unrelated views", "views of one sample are far from each other"),
    ),
}


def unusual(measured: Mapping[str, float]) -> list[str]:
    """A sentence for each measure that is out of its usual range, and where the range is from.

    Args:
        measured: Results of :func:`checkup`.

    >>> unusual({"dimensions": 128.0, "rankme": 40.0, "hubness": 1.89})
    ['hubness 1.89 is above 1, where Radovanović et al., 2010, see hubs: some samples are \
neighbors of far too many others, which a search then returns']
    >>> unusual({"dimensions": 128.0, "rankme": 3.0})[0][:55]
    'RankMe 3.00 is below 12.8, a tenth of the dimensions: f'
    """
    found = list[str]()
    for key, usual in USUAL.items():
        value = measured.get(key)
        unit = measured["dimensions"] if usual.share else 1.0
        for word, sign, side in (("below", -1, usual.below), ("above", 1, usual.above)):
            if value is None or side is None or sign * value <= sign * side[0] * unit:
                continue
            end, source, meaning = side
            found.append(f"{usual.name} {value:.2f} is {word} {end * unit:g}, {source}: {meaning}")
    return found
