"""The interval of a gain, against scipy's bootstrap and the normal approximation."""

import numpy as np
import pytest
import torch
from scipy import stats

from ssl_dml.evaluation.bootstrap import (
    Gain,
    Interval,
    gain_of,
    interval,
    keep_queries,
    paired_gain,
    percentiles,
)


def confidence(count):
    """That of a percentile bootstrap which is as wide as Student's t."""
    reach = stats.t.ppf(0.975, count - 1) * (count / (count - 1)) ** 0.5
    return float(2 * stats.norm.cdf(reach) - 1)


def answers(seed=0, count=400):
    rng = np.random.default_rng(seed)
    before = rng.random(count) < 0.6
    return before, np.where(rng.random(count) < 0.2, ~before, before)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_percentile_bootstrap_of_scipy(seed):
    before, after = answers(seed)
    found = paired_gain(torch.from_numpy(before), torch.from_numpy(after), draws=4000)
    change = after.astype(float) - before
    expected = stats.bootstrap(
        (change,), np.mean, method="percentile", n_resamples=4000, random_state=1,
        confidence_level=confidence(len(change)),
    ).confidence_interval  # fmt: skip
    assert found.mean == pytest.approx(change.mean(), abs=1e-12)
    assert found.low == pytest.approx(expected.low, abs=0.006)
    assert found.high == pytest.approx(expected.high, abs=0.006)


def test_what_both_find_hard_does_not_widen_it():
    before, after = answers()
    found = paired_gain(torch.from_numpy(before), torch.from_numpy(after))
    change = after.astype(float) - before
    error = 1.96 * change.std() / len(change) ** 0.5
    assert found.high - found.low == pytest.approx(2 * error, rel=0.12)
    alone = 1.96 * (before.var() + after.var()) ** 0.5 / len(change) ** 0.5
    assert found.high - found.low < 2 * alone


def test_draws_are_seeded():
    pair = [torch.from_numpy(part) for part in answers()]
    assert paired_gain(*pair) == paired_gain(*pair)
    assert paired_gain(*pair) != paired_gain(*pair, seed=1)


def test_there_must_be_queries():
    with pytest.raises(ValueError, match="must be of the same queries, got 0 and 0"):
        paired_gain(*(torch.ones(0, dtype=torch.bool) for _ in range(2)))


def test_a_run_folder_keeps_the_first_and_the_last(tmp_path):
    wrong, right = torch.tensor([False, False]), torch.tensor([True, True])
    assert gain_of(tmp_path) is None
    keep_queries(tmp_path, 0, right)
    keep_queries(tmp_path, 0, wrong)  # a run that began anew
    assert gain_of(tmp_path) is None
    keep_queries(tmp_path, 5, wrong)
    keep_queries(tmp_path, 9, right)
    assert gain_of(tmp_path) == Gain(1.0, 1.0, 1.0)


def test_it_is_said_in_points():
    assert str(Gain(0.0512, -0.01, 0.11)).strip() == "+5.1%  (95% interval -1.0% to +11.0%)"


def test_samples_of_one_group_do_not_stand_alone():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[groups] + 0.1 * rng.normal(size=1000)
    alone, whole = (
        interval(torch.from_numpy(values), each) for each in (None, torch.from_numpy(groups))
    )
    means = values.reshape(40, 25).mean(axis=1)
    expected = stats.bootstrap(
        (means,), np.mean, method="percentile", n_resamples=4000, random_state=1,
        confidence_level=confidence(40),
    ).confidence_interval  # fmt: skip
    assert (whole.mean, alone.mean) == pytest.approx((values.mean(),) * 2, abs=1e-12)
    assert (whole.low, whole.high) == pytest.approx(tuple(expected), abs=0.03)
    assert whole.high - whole.low > 3 * (alone.high - alone.low)


def test_groups_of_different_sizes_are_taken_whole():
    values, groups = torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([7, 7, 7, 2])
    found = interval(values, groups, confidence=0.9)
    assert found == Interval(mean=0.25, low=0.0, high=1.0)


def test_values_and_confidence_are_checked():
    with pytest.raises(ValueError, match="at least one sample"):
        interval(torch.empty(0))
    with pytest.raises(ValueError, match="confidence must be"):
        interval(torch.ones(2), confidence=1.0)


@pytest.mark.parametrize("count", [5, 20, 60])
@pytest.mark.parametrize("grouped", [False, True])
def test_few_samples_or_groups_widen_it_by_the_exact_factor(count, grouped):
    values = torch.from_numpy(np.random.default_rng(count).normal(size=count))
    groups = torch.arange(count) if grouped else None
    found = interval(values, groups, draws=20_000)
    drawn = np.random.default_rng(1).choice(values.numpy(), (20_000, count)).mean(axis=1)
    tail = (1 - confidence(count)) / 2
    spread = values.std().item() / count**0.5
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [tail, 1 - tail])), abs=0.12 * spread
    )
    assert found.high - found.low > np.diff(np.quantile(drawn, [0.025, 0.975]))


def test_the_widened_part_of_the_draws_is_exact():
    assert percentiles(torch.arange(100_001.0), 60, 0.95) == pytest.approx(
        ((1 - confidence(60)) / 2 * 1e5, (1 + confidence(60)) / 2 * 1e5), rel=1e-6
    )
    assert percentiles(torch.tensor([3.0, torch.nan]), 1, 0.95) == (3.0, 3.0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [8, 20, 60])
def test_the_interval_covers_a_mean_in_nineteen_of_twenty_draws(count):
    rng, covered = np.random.default_rng(count), 0
    for seed in range(2000):
        own = rng.normal(size=count)[np.repeat(np.arange(count), 5)]
        values = torch.from_numpy(own + rng.normal(size=5 * count))
        found = interval(values, torch.arange(count).repeat_interleave(5), draws=400, seed=seed)
        covered += found.low <= 0 <= found.high
    print(f"{count} groups: covered {covered / 2000:.1%}")
    assert 0.935 <= covered / 2000 <= 0.965
