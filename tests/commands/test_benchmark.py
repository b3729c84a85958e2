import itertools
import time

import pytest
import torch

from ssl_dml.commands.benchmark import compare_speed


def steps(seconds):
    for number in itertools.count():
        time.sleep(seconds)
        yield number


def test_the_ratio_is_that_of_the_times():
    found = compare_speed(
        steps(0.01),
        lambda: time.sleep(0.005),
        samples=8,
        device=torch.device("cpu"),
        rounds=3,
        steps=5,
    )
    assert found["ratio"] == pytest.approx(0.5, abs=0.15)
    assert found["bare"] == pytest.approx(8 / 0.005, rel=0.5)
    assert found["real"] == pytest.approx(8 / 0.01, rel=0.5)
