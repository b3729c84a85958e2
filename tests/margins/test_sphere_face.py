"""SphereFace and its schedule beside values computed elsewhere."""

import math

import pytest
import torch
from margin_losses import value
from torch.testing import assert_close

from ssl_dml.margins import SphereFace, psi


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (SphereFace(factor=2, lambda_start=0.0, lambda_min=0.0), 0.9096341312341476),
        (SphereFace(factor=2, lambda_start=5.0), 0.7539196594330049),
        (SphereFace(factor=2), 0.7259240858258936),
        (SphereFace(factor=4, lambda_start=0.0, lambda_min=0.0), 1.4235671550706994),
        (SphereFace(factor=4, lambda_start=5.0), 0.820561495402611),
        (SphereFace(factor=4), 0.726298190874623),
    ],
)
def test_values_computed_elsewhere(margin, expected):
    assert_close(value(margin.eval()), expected, rtol=1e-9, atol=1e-12)


def test_psi_computed_elsewhere():
    thetas = torch.tensor([0, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1]).double() * math.pi
    fourth = [1.0, 0.0, -1.0, -1.5, -3.0, -5.0, -7.0]
    assert_close(psi(thetas.cos(), 4), torch.tensor(fourth).double())
    third = [1.0, 0.38268343236508984, -0.7071067811865475, -1.0, -2.0, -3.292893218813452, -5.0]
    assert_close(psi(thetas.cos(), 3), torch.tensor(third).double())
    falling = psi(torch.linspace(1, -1, 1001).double(), 4).diff()
    assert (falling <= 1e-9).all()


def test_sphereface_is_annealed_by_its_own_steps():
    margin = SphereFace()
    schedule = {0: 1000.0, 1: 892.8571428571428, 10: 454.5454545454545, 100: 76.92307692307693}
    for step, expected in {**schedule, 1000: 8.264462809917356, 10000: 5.0}.items():
        margin.step.fill_(step)
        assert_close(margin.annealing().item(), expected, rtol=1e-5, atol=0)
    value(margin)
    assert margin.step == 10001
    value(margin.eval())
    assert margin.step == 10001


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SphereFace(factor=0), "factor must be at least 1, got 0"),
        (lambda: SphereFace(gamma=-1.0), "gamma must be at least 0, got -1.0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()
