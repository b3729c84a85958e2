"""How sure a difference of two accuracies on the same queries is."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.files import write_json
from ssl_dml.reading import read_json

QUERIES = "queries.json"
ENDS = ("start", "trained")


class Gain(NamedTuple):
    """A difference of accuracies, and its interval, as fractions.

    Attributes:
        mean: After minus before.
        low: Lower end of the interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+8.1%}  (95% interval {self.low:+.1%} to {self.high:+.1%})"


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

    References:
        Efron and Tibshirani, 1993, An Introduction to the Bootstrap, sec. 13.3.

    >>> wrong, right = torch.zeros(50, dtype=torch.bool), torch.ones(50, dtype=torch.bool)
    >>> tuple(paired_gain(wrong, right))
    (1.0, 1.0, 1.0)
    >>> tuple(paired_gain(right, right))
    (0.0, 0.0, 0.0)
    """
    at_least(1, draws=draws)
    if len(before) != len(after) or not len(before):
        raise ValueError(
            f"before and after must be of the same queries, got {len(before)} and {len(after)}"
        )
    change = after.double() - before.double()
    generator = torch.Generator().manual_seed(seed)
    count = len(change)
    means = [
        change[torch.randint(count, (count,), generator=generator)].mean() for _ in range(draws)
    ]
    ends = torch.stack(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
    return Gain(change.mean().item(), *ends.tolist())


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
