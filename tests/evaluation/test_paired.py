"""Differences of two models, against scipy and on drawn data."""

import numpy as np
import pytest
import torch
from scipy import stats

from ssl_dml.evaluation.paired import over_runs, paired


def drawn(rng, *, grouped, effect, count=200, groups=30):
    """Measures of two models on the same samples, which differ by an effect."""
    labels = rng.integers(0, groups, count)
    before = rng.normal(size=count)
    own = 0.4 * rng.normal(size=groups)[labels] if grouped else 0.0
    after = before + 0.5 * rng.normal(size=count) + own + effect
    tensors = [torch.from_numpy(x) for x in (before, after, labels)]
    return [*tensors[:2], tensors[2] if grouped else None]


def test_it_is_the_permutation_test_of_scipy():
    before, after, _ = drawn(np.random.default_rng(3), grouped=False, effect=0.06)
    found = paired(before, after, draws=5000)
    expected = stats.permutation_test(
        (after.numpy() - before.numpy(),), np.mean, permutation_type="samples",
        n_resamples=5000, rng=np.random.default_rng(1),
    )  # fmt: skip
    assert 0.01 < expected.pvalue < 0.9
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)


def test_few_groups_are_exchanged_in_every_way():
    before, after = torch.zeros(6), torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    found = paired(before, after, torch.tensor([0, 0, 1, 1, 2, 2]), draws=8000)
    assert found.p_value == pytest.approx(2 / 8, abs=0.02)  # of 3 signs, all or none
    assert paired(before, after, draws=8000).p_value == pytest.approx(2 / 64, abs=0.01)


def test_the_interval_is_that_of_groups():
    before, after, groups = drawn(np.random.default_rng(5), grouped=True, effect=0.3)
    assert groups is not None
    change = (after - before).numpy()
    sums = np.array([[change[groups == g].sum(), (groups == g).sum()] for g in groups.unique()])
    expected = stats.bootstrap(
        tuple(sums.T), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True,
        vectorized=True, method="percentile", n_resamples=4000, rng=np.random.default_rng(1),
        confidence_level=float(2 * stats.norm.cdf(stats.t.ppf(0.975, 29) * (30 / 29) ** 0.5) - 1),
    ).confidence_interval  # fmt: skip
    found = paired(before, after, groups, draws=4000)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.02)
    assert found.mean == pytest.approx(change.mean(), abs=1e-12)


def test_equal_models_do_not_differ():
    same = torch.rand(20)
    assert paired(same, same) == (0.0, 0.0, 0.0, 1.0)


def test_draws_are_seeded():
    before, after, _ = drawn(np.random.default_rng(3), grouped=False, effect=0.0)
    assert paired(before, after) == paired(before, after)
    assert paired(before, after) != paired(before, after, seed=1)


def test_there_must_be_samples():
    with pytest.raises(ValueError, match="got 0 and 0"):
        paired(torch.ones(0), torch.ones(0))
    with pytest.raises(ValueError, match="groups must be at least 2, got 1"):
        paired(torch.ones(3), torch.rand(3), torch.zeros(3, dtype=torch.long))


def check(draws, *, grouped, tolerance):
    rng, covered, p_values = np.random.default_rng(int(grouped)), 0, []
    for seed in range(draws):
        given = {"draws": 300, "seed": seed}
        found = paired(*drawn(rng, grouped=grouped, effect=0.2), **given)
        covered += found.low <= 0.2 <= found.high
        p_values.append(paired(*drawn(rng, grouped=grouped, effect=0.0), **given).p_value)
    share, false = covered / draws, np.mean(np.array(p_values) <= 0.05)
    print(f"grouped {grouped}: covered {share:.1%}, p <= 0.05 in {false:.1%} of {draws}")
    assert share >= 0.95 - tolerance
    assert false <= 0.05 + tolerance
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_covers_and_the_p_value_is_uniform(grouped):
    check(25, grouped=grouped, tolerance=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_covers_and_the_p_value_is_uniform_in_500_draws(grouped):
    check(500, grouped=grouped, tolerance=0.03)


def runs(rng, count, *, samples=150, items=0.3, groups=None):
    """Measures by runs that differ by seed, on samples that are hard or easy for all."""
    common = rng.normal(size=samples)
    of_method = items * rng.normal(size=samples)
    if groups is not None:
        of_method = of_method[groups]
    return [
        torch.from_numpy(
            common + own + 0.03 * rng.normal(size=(count, 1))
            + 0.3 * rng.normal(size=(count, samples))
        )
        for own in (0.0, of_method)
    ]  # fmt: skip


def test_over_runs_is_welchs_test_where_samples_do_not_matter():
    before, after = np.array([0.5, 0.52, 0.55]), np.array([0.6, 0.7])
    found = over_runs(*(torch.from_numpy(x)[:, None].repeat(1, 9) for x in (before, after)))
    expected = stats.ttest_ind(after, before, equal_var=False)
    assert found.p_value == pytest.approx(expected[1], rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)
    assert found.mean == pytest.approx(after.mean() - before.mean())


def test_over_equal_runs_nothing_is_gained():
    same = torch.ones(2, 5)
    assert over_runs(same, same) == (0.0, 0.0, 0.0, 1.0)
    assert over_runs(same, same + 1).p_value == 0


def test_over_runs_needs_two_of_each():
    with pytest.raises(ValueError, match="after_runs must be at least 2, got 1"):
        over_runs(torch.rand(2, 5), torch.rand(1, 5))


@pytest.mark.parametrize("grouped", [False, True])
def test_over_runs_covers_and_is_uniform(grouped):
    rng, p_values = np.random.default_rng(7), []
    groups = np.repeat(np.arange(30), 5) if grouped else None
    for _ in range(200):
        pair = runs(rng, 3, groups=groups)
        own = None if groups is None else torch.from_numpy(groups)
        p_values.append(over_runs(pair[0], pair[1], own).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.09
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
