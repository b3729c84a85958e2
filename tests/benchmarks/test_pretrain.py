import itertools
import time

import pytest
import torch

from ssl_dml.benchmarks import compare_speed


def steps(seconds):
    for number in itertools.count():
        time.sleep(seconds)
        yield number


def test_the_ratio_is_that_of_the_times():
    found = compare_speed(
        steps(0.004),
        lambda: time.sleep(0.002),
        samples=8,
        device=torch.device("cpu"),
        rounds=3,
        steps=5,
    )
    assert found["ratio"] == pytest.approx(0.5, abs=0.1)
    assert found["bare"] == pytest.approx(8 / 0.002, rel=0.3)
    assert found["real"] == pytest.approx(8 / 0.004, rel=0.3)
