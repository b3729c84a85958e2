"""How sure a difference of two models is: on one test set, and over several runs of each."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, inside
from ssl_dml.evaluation.bootstrap import interval

CHUNK = 2**22  # signs held at once


class Difference(NamedTuple):
    """A difference of two means, its interval, and its p-value.

    Attributes:
        mean: After minus before.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided: how often a difference as large is found where there is none.
    """

    mean: float
    low: float
    high: float
    p_value: float


def paired(
    before: Float[Tensor, " samples"],
    after: Float[Tensor, " samples"],
    groups: Int[Tensor, " samples"] | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """What a second model gains on the samples that both were measured on.

    The interval is that of a paired bootstrap, see
    :func:`~ssl_dml.evaluation.bootstrap.interval`. The p-value is of a permutation test that
    exchanges the two models on random samples: if they are alike, each exchange is as likely, so
    that it holds its level with few groups too, where a bootstrap's is too small. With ``groups``,
    such as classes or identities, both draw and exchange whole groups.

    Args:
        before: What was measured of each sample with the first model.
        after: The same of the second model.
        groups: The group of each sample; None if each stands alone.
        draws: Number of draws of each; no p-value is below ``1 / (draws + 1)``.
        seed: Of the draws.
        confidence: Of the interval, between 0 and 1.

    Raises:
        ValueError: If there are not two samples or groups, or the two models differ in number.

    References:
        Efron and Tibshirani, 1993, An Introduction to the Bootstrap, sec. 13.3 and 15.2;
        Phipson and Smyth, 2010, Permutation p-values should never be zero.

    >>> wrong, right = torch.zeros(50), torch.ones(50)
    >>> paired(wrong, right, draws=999)
    Difference(mean=1.0, low=1.0, high=1.0, p_value=0.001)
    >>> paired(right, right).p_value
    1.0
    """
    _check(before, after)
    inside(0, 1, confidence=confidence)
    change = after.double() - before.double()
    sums, generator = change, torch.Generator().manual_seed(seed)
    if groups is not None:
        _, own = groups.unique(return_inverse=True)
        sums = torch.zeros(int(own.max()) + 1, dtype=torch.double).index_add(0, own, change)
    at_least(2, **{"samples" if groups is None else "groups": len(sums)})
    found = interval(change, groups, draws=draws, seed=seed, confidence=confidence)
    sums = sums[sums != 0]  # an exchange changes nothing of the others
    least = abs(sums.sum()) - 1e-9 * sums.abs().sum()  # equal up to rounding counts as equal
    larger, most = 0, max(1, CHUNK // max(1, len(sums)))
    for first in range(0, draws, most):
        shape = min(most, draws - first), len(sums)
        signs = torch.randint(2, shape, generator=generator, dtype=torch.int8).double() * 2 - 1
        larger += int((abs(signs @ sums) >= least).sum())
    return Difference(*found, (1 + larger) / (1 + draws))


def over_runs(
    before: Float[Tensor, "runs samples"],
    after: Float[Tensor, "others samples"],
    groups: Int[Tensor, " samples"] | None = None,
    *,
    confidence: float = 0.95,
) -> Difference:
    r"""What a second method gains over several runs of each, such as with other seeds.

    Other runs would differ, and so would other samples. The variance of the difference is

    .. math:: \frac{s_1^2}{n_1} + \frac{s_2^2}{n_2} + v

    with the variance s of the means of n runs, and that of samples, or of groups of them, v: of
    their differences averaged over runs, less what the noise of each run adds to it. Interval and
    p-value are of Student's t with Welch's degrees of freedom.

    Args:
        before: What was measured of each sample by each run of the first method.
        after: The same of the second method.
        groups: The group of each sample; None if each stands alone.
        confidence: Of the interval, between 0 and 1.

    Raises:
        ValueError: If there is no sample, the two differ in number, or there are fewer than two
            runs of a method.

    References:
        Welch, 1947, The generalization of Student's problem; Bouthillier et al., 2021,
        arXiv:2103.03098, on the sources of variance.
    """
    from scipy.stats import t as student

    _check(before[0], after[0])
    inside(0, 1, confidence=confidence)
    at_least(2, before_runs=len(before), after_runs=len(after))
    sides = [_by_group(values.double(), groups) for values in (before, after)]
    change = sides[1].mean(dim=0) - sides[0].mean(dim=0)
    count = change.shape[0]
    parts, noise = [], 0.0
    for values in sides:
        runs = values.mean(dim=1)
        parts.append((runs.var().item() / len(values), len(values) - 1))
        rest = values - runs[:, None] - values.mean(dim=0) + runs.mean()
        noise += rest.square().sum().item() / ((len(values) - 1) * len(values) * max(1, count - 1))
    of_samples = change.var().item() if count > 1 else 0.0
    parts.append((max(0.0, of_samples - noise) / count, max(1, count - 1)))
    variance, mean = sum(part for part, _ in parts), change.mean().item()
    if variance == 0:
        return Difference(mean, mean, mean, float(mean == 0))
    degrees = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    reach = float(student.ppf((1 + confidence) / 2, degrees)) * variance**0.5
    p_value = 2 * float(student.sf(abs(mean) / variance**0.5, degrees))
    return Difference(mean, mean - reach, mean + reach, p_value)


def _by_group(
    values: Float[Tensor, "runs samples"], groups: Int[Tensor, " samples"] | None
) -> Float[Tensor, "runs units"]:
    """One value a group, of which the mean is that of all samples; samples where there is none."""
    if groups is None:
        return values
    _, own, counts = groups.unique(return_inverse=True, return_counts=True)
    mean, sums = values.mean(dim=1, keepdim=True), values.new_zeros(len(values), len(counts))
    centered = sums.index_add(1, own, values - mean)  # a large group far from the mean counts more
    return mean + centered * (len(counts) / len(own))


def _check(before: Tensor, after: Tensor) -> None:
    if len(before) != len(after) or not len(before):
        raise ValueError(
            f"before and after must be of the same samples, got {len(before)} and {len(after)}"
        )
