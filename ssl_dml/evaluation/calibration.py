"""The probability that two samples are the same, from their cosine."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ssl_dml.evaluation.identity_pairs import EDGES, Histograms
from ssl_dml.types import ConfigError

GROUPED = 8  # bins of cosines that are one here
ECE_BINS, MIN_FOLDS = 15, 2
CENTERS = EDGES[:-1].reshape(-1, GROUPED).mean(1) + (EDGES[1] - EDGES[0]) / 2
GRID = np.linspace(-1, 1, 401)

Bins = Float[np.ndarray, " bins"]
Fit = Callable[[Bins, Bins], tuple[np.ndarray, np.ndarray]]


class Curve(NamedTuple):
    """Probabilities of being the same at some cosines, which are interpolated between.

    Attributes:
        kind: ``isotonic`` or ``platt``.
        cosines: Ascending.
        same: Probability at each, if half of the pairs are.
        ece: Expected calibration error on identities that it was not fitted to.
    """

    kind: str
    cosines: Float[np.ndarray, " points"]
    same: Float[np.ndarray, " points"]
    ece: float


def calibrate(found: Histograms, *, identities: int) -> Curve:
    """Fit the probability by isotonic regression and by Platt's sigmoid; keep what fits better.

    Pairs of one identity and of two weigh half each. Which fits better, by Brier's score, and the
    calibration error are of each fold of the identities under a fit to pairs of the others.

    Args:
        found: Cosines of pairs.
        identities: How many there are; no probability is nearer to 0 or 1 than one of so many.

    Raises:
        ValueError: If fewer than two folds have pairs of one identity and of two.

    References:
        Zadrozny and Elkan, 2002 (isotonic); Platt, 1999; Guo et al., 2017, arXiv:1706.04599 (ECE,
        15 bins).
    """
    same = found.same.reshape(len(found.same), -1, GROUPED).sum(2)
    other = found.other.reshape(*found.other.shape[:2], -1, GROUPED).sum(3)
    folds = [f for f in range(len(same)) if same[f].any() and other[f, f].any()]
    if len(folds) < MIN_FOLDS:
        raise ValueError("needs two folds of identities that have two samples each")
    scores = {name: _cross_fitted(fit, same, other, folds) for name, fit in FITS.items()}
    kind = min(scores, key=lambda name: scores[name][0])
    cosines, values = FITS[kind](same.sum(0), other.sum((0, 1)))
    least = 1 / (identities + 2)
    return Curve(kind, cosines, values.clip(least, 1 - least), scores[kind][1])


def _cross_fitted(
    fit: Fit, same: np.ndarray, other: np.ndarray, folds: list[int]
) -> tuple[float, float]:
    """Brier's score and calibration error over folds, each under a fit to the others."""
    brier, sums = 0.0, np.zeros((3, ECE_BINS))
    for fold in folds:
        kept = np.arange(len(same)) != fold
        curve = fit(same[kept].sum(0), other[kept][:, kept].sum((0, 1)))
        p = np.interp(CENTERS, *curve)
        one, two = _halves(same[fold], other[fold, fold])
        brier += float((one * (1 - p) ** 2 + two * p**2).sum()) / len(folds)
        place = (p * ECE_BINS).astype(int).clip(max=ECE_BINS - 1)
        for row, weights in enumerate((one + two, (one + two) * p, one)):
            sums[row] += np.bincount(place, weights, minlength=ECE_BINS) / len(folds)
    return brier, float(np.abs(sums[1] - sums[2]).sum() / sums[0].sum())


def _halves(same: Bins, other: Bins) -> tuple[Bins, Bins]:
    return same / same.sum() / 2, other / other.sum() / 2


def _isotonic(same: Bins, other: Bins) -> tuple[np.ndarray, np.ndarray]:
    linear, _ = _scikit_learn()
    one, two = _halves(same, other)
    kept = one + two > 0
    share, weights = one[kept] / (one + two)[kept], (one + two)[kept]
    fitted = linear(y_min=0, y_max=1).fit(CENTERS[kept], share, sample_weight=weights)
    return fitted.X_thresholds_, fitted.y_thresholds_


def _platt(same: Bins, other: Bins) -> tuple[np.ndarray, np.ndarray]:
    _, logistic = _scikit_learn()
    halves = _halves(same, other)
    at = [half > 0 for half in halves]
    x = np.concatenate([CENTERS[own] for own in at])
    y = np.repeat([1, 0], [int(own.sum()) for own in at])
    weights = np.concatenate([half[own] for half, own in zip(halves, at, strict=True)])
    fitted = logistic(C=1e6, max_iter=1000).fit(x[:, None], y, sample_weight=weights * 1000)
    if fitted.coef_[0, 0] <= 0:  # the same are no more similar than others
        return GRID, np.full(len(GRID), 0.5)
    return GRID, fitted.predict_proba(GRID[:, None])[:, 1]


def _scikit_learn():  # noqa: ANN202 - its classes
    try:
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ConfigError(
            "calibrated probabilities need scikit-learn: pip install 'ssl_dml[threshold]'"
        ) from error
    return IsotonicRegression, LogisticRegression


FITS: dict[str, Fit] = {"isotonic": _isotonic, "platt": _platt}
