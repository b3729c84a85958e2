"""How sure a measure is, and a difference of two accuracies on the same queries."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, inside
from ssl_dml.files import write_json
from ssl_dml.reading import read_json

QUERIES = "queries.json"
ENDS = ("start", "trained")
AT_ONCE = 1 << 18  # values that are drawn at once


class Interval(NamedTuple):
    """A mean, and its interval.

    Attributes:
        mean: Of what was measured.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


class Gain(Interval):
    """A difference of accuracies, and its interval, as fractions."""

    def __str__(self) -> str:
        return f"{self.mean:+8.1%}  (95% interval {self.low:+.1%} to {self.high:+.1%})"


def interval(
    values: Float[Tensor, " samples"],
    groups: Int[Tensor, " samples"] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """The mean of a measure, and its interval by the percentiles of a bootstrap.

    Each draw takes as many samples with replacement as there are. Samples of one class or identity
    are not independent: with ``groups``, a draw takes whole groups, as many as there are. The
    percentiles are those of :func:`percentiles`, wider where samples or groups are few.

    Args:
        values: What was measured of each sample.
        groups: The group of each sample; None if each stands alone.
        draws: Number of draws.
        seed: Of the draws.
        confidence: Of the interval, between 0 and 1.

    Raises:
        ValueError: If there is no sample.

    References:
        Efron and Tibshirani, 1993, An Introduction to the Bootstrap, sec. 13.3;
        Field and Welsh, 2007, Bootstrapping clustered data (of whole groups).

    >>> interval(torch.tensor([0.5, 0.5, 0.5]))
    Interval(mean=0.5, low=0.5, high=0.5)
    >>> interval(torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0, 0, 1, 1]))
    Interval(mean=0.5, low=0.0, high=1.0)
    """
    at_least(1, draws=draws)
    inside(0, 1, confidence=confidence)
    if not len(values):
        raise ValueError("values must be of at least one sample, got none")
    sums, counts = values.double(), torch.ones(len(values), dtype=torch.double)
    if groups is not None:
        _, own = groups.unique(return_inverse=True)
        sums = torch.zeros(int(own.max()) + 1, dtype=torch.double).index_add(0, own, sums)
        counts = torch.bincount(own).double()
    generator, count = torch.Generator().manual_seed(seed), len(sums)
    means = []
    for part in torch.arange(draws).split(max(1, AT_ONCE // count)):
        chosen = torch.randint(count, (len(part), count), generator=generator)
        means.append(sums[chosen].sum(dim=1) / counts[chosen].sum(dim=1))
    mean = sums.sum() / counts.sum()
    return Interval(mean.item(), *percentiles(torch.cat(means), count, confidence))


def percentiles(
    values: Float[Tensor, " draws"], count: int, confidence: float
) -> tuple[float, float]:
    """Ends of an interval by the draws of a bootstrap of so many samples or groups.

    The draws of few samples spread less than what was drawn from does, so the percentiles are moved
    outwards by as much as Student's t is wider than the normal distribution.

    Args:
        values: What each draw gives; NaN where it gives nothing.
        count: Samples or groups that were drawn from. One alone has no spread.
        confidence: Of the interval, between 0 and 1.

    References:
        Hesterberg, 2015, arXiv:1411.5279, sec. 5.3 (expanded percentiles).

    >>> percentiles(torch.arange(1001.0), 10_000, 0.95)
    (24.98..., 975.01...)
    >>> percentiles(torch.arange(1001.0), 10, 0.95)
    (8.55..., 991.44...)
    """
    wider = expanded(confidence, count) if count > 1 else confidence
    tails = torch.tensor([(1 - wider) / 2, (1 + wider) / 2], dtype=torch.double)
    low, high = values.double().nanquantile(tails).tolist()
    return low, high


def expanded(confidence: float, count: int) -> float:
    """The part of the draws between percentiles that so many samples need for a confidence.

    >>> round(expanded(0.95, 10), 3), round(expanded(0.95, 60), 4), round(expanded(0.95, 10_000), 3)
    (0.983, 0.9564, 0.95)
    """
    from scipy.special import ndtr, stdtrit

    reach = stdtrit(count - 1, (1 + confidence) / 2) * (count / (count - 1)) ** 0.5
    return float(2 * ndtr(reach) - 1)


def paired_gain(
    before: Bool[Tensor, " queries"],
    after: Bool[Tensor, " queries"],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Gain:
    """Gain in accuracy and its 95% interval, by the percentiles of a paired bootstrap.

    Each draw takes as many queries with replacement as there are, and from each of them both
    answers, so what is hard for both models does not widen the interval.

    Args:
        before: Whether the first model was right on each query.
        after: The same of the second model.
        draws: Number of draws.
        seed: Of the draws.

    Raises:
        ValueError: If there is no query, or the two differ in number.

    >>> wrong, right = torch.zeros(50, dtype=torch.bool), torch.ones(50, dtype=torch.bool)
    >>> tuple(paired_gain(wrong, right))
    (1.0, 1.0, 1.0)
    >>> tuple(paired_gain(right, right))
    (0.0, 0.0, 0.0)
    """
    if len(before) != len(after) or not len(before):
        raise ValueError(
            f"before and after must be of the same queries, got {len(before)} and {len(after)}"
        )
    return Gain(*interval(after.double() - before.double(), draws=draws, seed=seed))


def keep_queries(folder: Path, step: int, correct: Bool[Tensor, " queries"]) -> None:
    """Write which queries the probe has right, at step 0 and last, to ``queries.json``."""
    kept = {} if step == 0 else _read(folder)
    name = "start" if step == 0 else "trained"
    write_json(folder / QUERIES, {**kept, name: correct.int().tolist(), f"{name}_step": step})


def gain_of(folder: Path) -> Gain | None:
    """The gain of a run over its start; None where it did not probe queries at both ends."""
    kept = _read(folder)
    if not {*ENDS} <= kept.keys():
        return None
    before, after = (torch.tensor(kept[name], dtype=torch.bool) for name in ENDS)
    return paired_gain(before, after) if len(before) == len(after) else None


def _read(folder: Path) -> dict[str, list[int]]:
    try:
        kept = read_json(folder / QUERIES)
        known = all(set(kept.get(name, [])) <= {0, 1} for name in ENDS)
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
        return {}
    return kept if known else {}
