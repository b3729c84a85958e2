r"""The similarity above which two samples are the same, at a promised false acceptance rate.

The rate is a mean over pairs of identities, and pairs that share an identity are not independent.
Its variance is that of a U-statistic of degree 2 (Hoeffding, 1948), which the rates of the single
identities give without bias. Bounds are those of Clopper and Pearson at the effective number of
pairs :math:`p (1 - p) / \mathrm{Var}` (Korn and Graubard, 1998), whose quantile is widened by the
ratio of Student's t to the normal distribution and by the skewness of those rates (Johnson, 1978),
as few identities collide with many.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from ssl_dml.checks import inside
from ssl_dml.evaluation.bootstrap import Interval
from ssl_dml.evaluation.identity_pairs import EDGES, IdentityPairs, Rates

# How often the identity that collides most counts again, as rarer ones were not drawn: in the upper
# end of an interval, and in a threshold.
UNSEEN, UNSEEN_BY_PROMISE = 0.5, 5.0


def variance(rates: Rates) -> float:
    """Variance of the false acceptance rate, over identities, without bias.

    It is not below that of independent pairs of identities.
    """
    count = len(rates.of)
    pairs = count * (count - 1) / 2
    total, sums = rates.share * pairs, rates.of * (count - 1)
    disjoint = pairs * (count - 2) * (count - 3) / 2
    apart = total**2 - (sums**2).sum() + rates.square * pairs  # products of pairs that share none
    found = rates.share**2 - apart / disjoint if disjoint else 0.0
    return max(found, (rates.square - rates.share**2) / pairs)


def effective_pairs(
    rates: Rates, confidence: float, *, unseen: float = 0.0, side: int = 1
) -> float:
    """Number of independent pairs that say as much about the rate as all of these do.

    Args:
        rates: At some threshold; the share is above 0.
        confidence: Of the one-sided bound that it is for.
        unseen: How often the identity that collides most counts again.
        side: 1 for an upper bound, -1 for a lower one, where skewness counts the other way.
    """
    count, z = len(rates.of), float(stats.norm.ppf(confidence))
    t = float(stats.t.ppf(confidence, count - 1))
    found = variance(rates) + unseen * (2 * (rates.of.max() - rates.share) / count) ** 2
    deviations = rates.of - rates.of.mean()
    skewness = (deviations**3).mean() / max(deviations.std(), 1e-30) ** 3
    shift = side * max(0.0, skewness) / math.sqrt(count) * (1 + 2 * t * t) / 6
    widened = max(t + shift, z / 2)
    return rates.share * (1 - rates.share) / found * (z / widened) ** 2


def upper(share: float, count: float, confidence: float) -> float:
    """Upper bound of a rate (Clopper and Pearson, 1934), also of a count that is no integer.

    >>> round(upper(0.0, 300.0, 0.95), 5)
    0.00994
    """
    return float(stats.beta.ppf(confidence, share * count + 1, count - share * count))


def lower(share: float, count: float, confidence: float) -> float:
    """Lower bound, as :func:`upper`; 0 of a share of 0."""
    hits = share * count
    return float(stats.beta.ppf(1 - confidence, hits, count - hits + 1)) if hits else 0.0


def binomial_interval(share: float, count: float, confidence: float = 0.95) -> Interval:
    """Interval of Clopper and Pearson, which takes all pairs for independent.

    >>> [round(end, 4) for end in binomial_interval(0.5, 10.0)]
    [0.5, 0.1871, 0.8129]
    """
    tail = (1 + confidence) / 2
    return Interval(share, lower(share, count, tail), upper(share, count, tail))


def far_interval(rates: Rates, *, confidence: float = 0.95, without: float = 1.0) -> Interval:
    """The false acceptance rate, and its interval over identities.

    Args:
        rates: At some threshold.
        confidence: Two-sided.
        without: Effective pairs where nothing was accepted, from a lower threshold.
    """
    tail = (1 + confidence) / 2
    if not rates.share:
        return Interval(0.0, 0.0, upper(0.0, without, tail))
    low = effective_pairs(rates, tail, side=-1)
    high = effective_pairs(rates, tail, unseen=UNSEEN)
    return Interval(rates.share, lower(rates.share, low, tail), upper(rates.share, high, tail))


class TooFewIdentitiesError(ValueError):
    """Too few identities for what was asked for; the message says how many are needed."""


def far_threshold(
    pairs: IdentityPairs,
    tail: Float[np.ndarray, " bins"],
    *,
    far: float,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The lowest cosine whose false acceptance rate is at most ``far``, with this confidence.

    The rate falls with the threshold, so thresholds are tried from high to low until one fails.
    Effective pairs are counted where the rate that was seen is about ``far``, as it would be if
    the threshold were just wrong.

    Args:
        pairs: Identities drawn from those that the promise is about.
        tail: False acceptance rate from each of :data:`EDGES` on.
        far: The largest rate.
        confidence: Chance, over draws of identities, that the promise holds.

    Returns:
        The threshold, and the effective number of pairs.

    Raises:
        TooFewIdentitiesError: If even no false acceptance at all would not be enough.
    """
    inside(0, 1, far=far, confidence=confidence)
    if not (tail[-1] <= far):
        raise TooFewIdentitiesError(
            f"{tail[-1]:.2%} of the pairs of identities are as similar as can be: above --far {far}"
        )
    below = int(np.argmax(tail <= far))
    rates = pairs.rates(float(EDGES[below]))
    if not rates.share:
        needed = math.ceil(math.sqrt(-2 * math.log(1 - confidence) / far))
        raise TooFewIdentitiesError(_too_few(pairs.identities, max(needed, pairs.identities), far))
    count = effective_pairs(rates, confidence, unseen=UNSEEN_BY_PROMISE)
    hits = tail[below:] * count
    holds = (stats.beta.ppf(confidence, hits + 1, count - hits) <= far).nonzero()[0]
    if not len(holds):
        needed = _needed(rates, count, math.log(1 - confidence) / math.log1p(-far))
        raise TooFewIdentitiesError(_too_few(pairs.identities, needed, far))
    return float(EDGES[below + holds[0]]), count


def _too_few(count: int, needed: int, far: float) -> str:
    return (
        f"{count:,} identities are too few for --far {far:g}: about {needed:,} or more are needed"
    )


def _needed(rates: Rates, count: float, wanted: float) -> int:
    """Identities with which there would be so many effective pairs."""
    identities, p = len(rates.of), rates.share
    second = max(rates.square - p * p, 1e-30)  # variance of one pair
    first = max(variance(rates) - 2 * second / identities**2, 0.0) * identities  # 4 zeta_1
    penalty = p * (1 - p) / variance(rates) / count
    goal = p * (1 - p) / (wanted * penalty)  # first / n + 2 second / n^2 = goal
    found = (first + math.sqrt(first**2 + 8 * second * goal)) / (2 * goal)
    return max(math.ceil(found), identities + 1)


def refusal(
    scores: Float[np.ndarray, " identities"], *, fpir: float, confidence: float = 0.95
) -> float:
    """The cosine below which a query is refused as unknown.

    Split conformal: the scores are quantiles of what unknown queries have. At most as many of them
    are accepted as a binomial count has with ``1 - confidence``, so that the chance holds for the
    threshold that was drawn, and not only on average (Vovk, 2012).

    Args:
        scores: Highest cosine with the gallery, of one sample of each of some unknown identities.
        fpir: False positive identification rate: chance that an unknown query is accepted.
        confidence: Chance that the rate is not above it.

    Raises:
        TooFewIdentitiesError: If even no accepted score would not be enough.

    >>> round(refusal(np.linspace(0, 1, 101), fpir=0.1), 3)
    0.96
    """
    inside(0, 1, fpir=fpir, confidence=confidence)
    count = len(scores)
    accepted = int(stats.binom.ppf(1 - confidence, count, fpir))
    while accepted >= 0 and stats.binom.cdf(accepted, count, fpir) > 1 - confidence:
        accepted -= 1
    if accepted < 0:
        needed = math.ceil(math.log(1 - confidence) / math.log1p(-fpir))
        raise TooFewIdentitiesError(
            f"{count:,} unknown identities are too few for --fpir {fpir:g}: {needed:,} are needed"
        )
    score = np.sort(scores.astype(np.float32))[count - 1 - accepted]
    return float(np.nextafter(score, np.float32(2)))
