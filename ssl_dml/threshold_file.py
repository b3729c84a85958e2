"""``threshold.json``: from which cosine on two samples are the same, beside model or table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ssl_dml
from ssl_dml.files import write_json
from ssl_dml.reading import read_format, reading
from ssl_dml.types import ConfigError, shown

THRESHOLD, FORMAT, REMEDY = "threshold.json", 1, "run ssl_dml threshold again"


class Same(NamedTuple):
    """Whether two samples are the same.

    Attributes:
        same: Whether their cosine reaches the threshold.
        probability: Of being the same, where every other pair is.
        cosine: How similar their embeddings are.
    """

    same: bool
    probability: float
    cosine: float


class Limits(NamedTuple):
    """What the matches of a search must reach.

    Attributes:
        same: Cosine from which a match is the same; None if that was not calibrated.
        known: Cosine that the best match of a known query has, calibrated for a gallery of so many
            rows; None if that was not, and then it is what is the same.
    """

    same: float | None = None
    known: float | None = None

    def refusal(self, best: float | None) -> str | None:
        """That a query shows nothing of a gallery, in words; None if its best match is enough.

        Args:
            best: Cosine of the best match; None if there is none.

        >>> Limits(same=0.8).refusal(0.7), Limits(same=0.8, known=0.6).refusal(0.7)
        ('unknown: no match reaches 0.8000', None)
        """
        limit = self.same if self.known is None else self.known
        if limit is None or (best is not None and best >= limit):
            return None
        return f"unknown: no match reaches {limit:.4f}"


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """When a query is refused as unknown.

    Args:
        threshold: Cosine that its best match must have.
        fpir: False positive identification rate: largest share of unknown queries that pass.
        identities: Unknown ones that it was calibrated with.
        gallery_rows: Rows that these searched; among more rows more queries pass.
    """

    threshold: float
    fpir: float
    identities: int
    gallery_rows: int


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From which cosine on two samples are the same, and what that promises.

    Args:
        digest: Of the weights that embedded.
        pool: How features were pooled.
        views: Which views were averaged.
        dim: Dimension of an embedding.
        threshold: The cosine.
        far: False acceptance rate that is not exceeded.
        confidence: Chance of that, over draws of identities.
        identities: How many it was calibrated with.
        rows: Their samples.
        measures: ``far`` and ``tar`` at the threshold, and ``ece`` of the probabilities; intervals
            as ``_low`` and ``_high``.
        cosines: Points of the curve of probabilities, ascending.
        same: Probability of being the same at each, where every other pair is.
        unknown: When a query is refused; None where identities were too few for that.
        version: Of the toolkit that wrote it.
    """

    digest: str
    pool: str | None
    views: str | None
    dim: int
    threshold: float
    far: float
    confidence: float
    identities: int
    rows: int
    measures: Mapping[str, float]
    cosines: Sequence[float]
    same: Sequence[float]
    unknown: Unknown | None = None
    version: str = ssl_dml.__version__

    def probability(self, cosine: float) -> float:
        """Probability that a pair with this cosine is the same, where every other pair is."""
        return float(np.interp(cosine, self.cosines, self.same))

    def limits(self, rows: int) -> Limits:
        """What matches must reach in a gallery of so many rows.

        A query's best match is held to what was calibrated with at least as many rows, since among
        more rows more unknown queries find one that is similar enough.
        """
        own = self.unknown
        known = None if own is None or own.gallery_rows < rows else own.threshold
        return Limits(self.threshold, known)

    def judge(self, cosine: float) -> Same:
        """Whether a pair with this cosine is the same."""
        return Same(cosine >= self.threshold, self.probability(cosine), cosine)

    def check(
        self, where: Path, digest: str, pool: str | None, views: str | None, dim: int
    ) -> None:
        """Raise ConfigError if it is of another model, or of other embeddings of this one."""
        own = self.digest[:12], self.pool or "", self.views or "one", self.dim
        other = digest[:12], pool or "", views or "one", dim
        for name, one, two in zip(("weights", "pool", "views", "dim"), own, other, strict=True):
            if one != two:
                raise ConfigError(
                    f"{where / THRESHOLD} is of {name} {one!r}, and the embeddings of {two!r}: "
                    "run ssl_dml threshold on a table of this model"
                )

    def lines(self) -> Iterator[str]:
        """What it promises, in sentences."""
        found = self.measures
        yield (
            f"Two samples are the same from cosine {self.threshold:.4f} on: at most {self.far:g} "
            f"of the pairs of different identities are accepted (FAR), with confidence "
            f"{self.confidence:g}, by {self.identities:,} identities with {self.rows:,} samples."
        )
        yield (
            f"Measured: FAR {found['far']:.2g} (95% interval {found['far_low']:.2g} to "
            f"{found['far_high']:.2g}; {found['binomial_low']:.2g} to {found['binomial_high']:.2g} "
            "if pairs were independent, which they are not), TAR "
            f"{found['tar']:.1%} ({found['tar_low']:.1%} to {found['tar_high']:.1%})."
        )
        yield (
            "The probability of being the same, where every other pair is, has an expected "
            f"calibration error of {found['ece']:.3f} on identities that it was not fitted to."
        )
        if self.unknown is not None:
            own = self.unknown
            yield (
                f"A query whose best match is below {own.threshold:.4f} is unknown: at most "
                f"{own.fpir:g} of unknown queries pass (FPIR) among {own.gallery_rows:,} rows, "
                f"with confidence {self.confidence:g}, by {own.identities:,} unknown identities."
            )


def write_threshold(folder: Path, threshold: Threshold) -> Path:
    """Write ``threshold.json`` into a folder, whole or not at all; return its path."""
    write_json(folder / THRESHOLD, {"format": FORMAT, **asdict(threshold)})
    return folder / THRESHOLD


def read_threshold(folder: Path) -> Threshold | None:
    """What a folder has in ``threshold.json``; None if there is no such file.

    Raises:
        ConfigError: Naming it, if it is damaged or of another version.
    """
    path = folder / THRESHOLD
    if not path.exists():
        return None
    with reading(str(path), REMEDY, foreign=False):
        values = read_format(path, FORMAT, REMEDY)
        given = {one.name: values[one.name] for one in fields(Threshold)}
        if given["unknown"] is not None:
            given["unknown"] = Unknown(**given["unknown"])
        found = Threshold(**given)
        _check_values(found)
        return found


def _check_values(found: Threshold) -> None:
    """Raise ValueError where a file says what cannot be."""
    own = found.unknown
    possible: dict[str, bool] = {
        "threshold": _within(found.threshold, -1, 1),
        "far": _within(found.far, 0, 1),
        "confidence": _within(found.confidence, 0, 1),
        "measures": all(_within(found.measures[name], 0, 1) for name in MEASURES),
        "cosines": _ascending(found.cosines, -1.001, 1.001),
        "same": _ascending(found.same, 0, 1) and len(found.same) == len(found.cosines),
        "unknown": own is None or (_within(own.threshold, -1, 1.001) and _within(own.fpir, 0, 1)),
        **{name: isinstance(getattr(found, name), str) for name in ("digest", "version")},
        **{name: isinstance(getattr(found, name), str | None) for name in ("pool", "views")},
    }
    whole = [found.identities, found.rows, found.dim]
    whole += [] if own is None else [own.identities, own.gallery_rows]
    possible["identities"] = all(type(one) is int and one > 0 for one in whole)
    for name, holds in possible.items():
        if not holds:
            raise ValueError(f"has {name} {shown(getattr(found, name))}, which cannot be")


MEASURES = (
    *("far", "far_low", "far_high", "binomial_low", "binomial_high"),
    *("tar", "tar_low", "tar_high", "ece"),
)


def _within(value: Any, low: int | float, high: int | float) -> bool:  # noqa: ANN401
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high


def _ascending(values: Any, low: int | float, high: int | float) -> bool:  # noqa: ANN401
    if not (isinstance(values, list | tuple) and 1 < len(values) <= 1 << 16):
        return False
    return all(_within(v, low, high) for v in values) and all(a <= b for a, b in pairwise(values))
