"""Whether thresholds keep their promise: many draws of identities from one population."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import betainc

from benchmarks.identities import Things, embedded
from ssl_dml.commands.threshold import highest
from ssl_dml.evaluation.identity_pairs import EDGES, IdentityPairs
from ssl_dml.evaluation.stored import stored_tables
from ssl_dml.evaluation.thresholds import (
    TooFewIdentitiesError,
    binomial_interval,
    far_interval,
    far_threshold,
    refusal,
)
from ssl_dml.tables import EmbeddingTable

# Of the population whose rates are known: how far identities lie towards a common direction, and
# how many do. Those that are far collide with each other.
SHIFTS, SHARES, DIM = np.array([0.1, 0.4, 0.7]), np.array([0.7, 0.25, 0.05]), 24
GALLERY, FRESH = 200, 50_000


class Population(NamedTuple):
    """What draws are from.

    Attributes:
        draw: So many identities, labeled from 0.
        far: False acceptance rate from a cosine on.
        unknown: So many unknown ones with one sample each: their highest cosines with a gallery,
            and those of the whole population.
    """

    draw: Callable[[int], EmbeddingTable]
    far: Callable[[float], float]
    unknown: Callable[[int], tuple[np.ndarray, np.ndarray]]


def coverage_table(
    *,
    table: Path | None = None,
    things: Things | None = None,
    identities: int = 200,
    far: float = 0.01,
    fpir: float = 0.05,
    draws: int = 500,
    seed: int = 0,
) -> None:
    """Draw identities again and again, and count how often what is said of all of them holds.

    Args:
        table: Labeled embeddings whose classes are all there are.
        things: What is drawn and embedded by fixed features instead; without a table either, a
            population whose rates are known exactly.
        identities: In a draw.
        far: False acceptance rate that is asked for.
        fpir: False positive identification rate that is asked for.
        draws: How many.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    if table is None and things is None:
        population = known(generator)
    else:
        rows = stored_tables(table)[0][0] if table is not None else embedded(things or "hangul")
        population = finite(rows, generator)
    at = _where(population.far, far)
    true = population.far(at)
    counts = dict.fromkeys(("interval", "binomial", "kept", "too few", "unknown kept"), 0)
    ratios = []
    for _ in range(draws):
        pairs = IdentityPairs(population.draw(identities), folds=2)
        rates = pairs.rates(at)
        low, high = far_interval(rates, without=float(identities))[1:]
        counts["interval"] += low <= true <= high
        low, high = binomial_interval(rates.share, pairs.sample_pairs)[1:]
        counts["binomial"] += low <= true <= high
        try:
            other = pairs.histograms().other.sum((0, 1))
            tail = other[::-1].cumsum()[::-1] / other.sum()
            found = population.far(far_threshold(pairs, tail, far=far)[0])
            counts["kept"] += found <= far
            ratios.append(found / far)
        except TooFewIdentitiesError:
            counts["too few"] += 1
        scores, others = population.unknown(identities)
        counts["unknown kept"] += (others >= refusal(scores, fpir=fpir)).mean() <= fpir
    print(
        f"{table or things or 'known exactly'}: {draws} draws of {identities} identities, FAR {far}"
    )
    for name, count in counts.items():
        print(f"{name:14} {count / draws:.3f}")
    print(f"{'rate / asked':14} {np.median(ratios):.2f} (median)")


def _where(rate: Callable[[float], float], far: float) -> float:
    """The lowest edge whose rate is at most ``far``."""
    low, high = 0, len(EDGES) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rate(float(EDGES[middle])) <= far else (middle + 1, high)
    return float(EDGES[low])


def known(generator: np.random.Generator) -> Population:
    """Unit vectors of which some lean towards a common direction; one sample an identity.

    The cosine of two is ``a b + sqrt((1 - a^2) (1 - b^2)) u`` with ``u`` between two uniform unit
    vectors, so that the share above a threshold is a sum of incomplete beta functions.
    """

    def drawn(count: int) -> torch.Tensor:
        shift = generator.choice(SHIFTS, count, p=SHARES)[:, None]
        rest = generator.normal(size=(count, DIM))
        rest *= np.sqrt(1 - shift**2) / np.linalg.norm(rest, axis=1, keepdims=True)
        return torch.from_numpy(np.concatenate([shift, rest], axis=1).astype(np.float32))

    a, b = np.meshgrid(SHIFTS, SHIFTS)
    weights, gallery = np.outer(SHARES, SHARES), drawn(GALLERY)
    fresh = highest(drawn(FRESH), gallery)

    def far(cosine: float) -> float:
        u = ((cosine - a * b) / np.sqrt((1 - a**2) * (1 - b**2))).clip(-1, 1)
        tail = betainc((DIM - 1) / 2, 0.5, 1 - u**2) / 2
        return float((weights * np.where(u >= 0, tail, 1 - tail)).sum())

    return Population(
        lambda count: EmbeddingTable(embeddings=drawn(count), labels=torch.arange(count)),
        far,
        lambda count: (highest(drawn(count), gallery), fresh),
    )


def finite(table: EmbeddingTable, generator: np.random.Generator) -> Population:
    """The classes of a table; a third of them are the gallery that unknown ones search."""
    other = IdentityPairs(table).histograms().other.sum((0, 1))
    tail = np.append(other[::-1].cumsum()[::-1] / other.sum(), 0.0)
    order = torch.from_numpy(generator.permutation(table.labels.unique().numpy()))
    enrolled, rest = order[: len(order) // 3], order[len(order) // 3 :]
    gallery = table.embeddings[torch.isin(table.labels, enrolled)]
    rows = {label: (table.labels == label).nonzero()[:, 0].numpy() for label in order.tolist()}
    scores = {i: highest(table.embeddings[rows[i]], gallery) for i in rest.tolist()}

    everybody = np.concatenate([*scores.values()])

    def draw(count: int) -> EmbeddingTable:
        own = generator.permutation(order.numpy())[:count]
        return table.at(torch.from_numpy(np.concatenate([rows[int(i)] for i in own])))

    def unknown(count: int) -> tuple[np.ndarray, np.ndarray]:
        own = generator.permutation(rest.numpy()).tolist()[:count]
        drawn = np.array([generator.choice(scores[i]) for i in own])
        return drawn, everybody

    return Population(draw, lambda cosine: float(np.interp(cosine, EDGES, tail)), unknown)
