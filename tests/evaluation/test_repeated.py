import numpy as np
import pytest
from scipy import stats

from ssl_dml.evaluation.repeated import repeated


def test_is_the_interval_of_students_t():
    values = [0.3, 0.5, 0.4, 0.45]
    found = repeated([{"a": value, "b": 1.0} for value in values])
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    expected = {"a": np.mean(values), "a_low": low, "a_high": high, "b": 1, "b_low": 1, "b_high": 1}
    assert found == pytest.approx(expected)
    assert set(map(type, found.values())) == {float}


def test_covers_the_mean_in_19_of_20_draws():
    rng = np.random.default_rng(0)
    draws = (repeated([{"a": value} for value in rng.normal(size=5)]) for _ in range(1000))
    assert 0.93 < np.mean([one["a_low"] <= 0 <= one["a_high"] for one in draws]) < 0.97
