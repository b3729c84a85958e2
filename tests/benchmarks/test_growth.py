import numpy as np
import pytest
from benchmarks.growth import exponent, said


def test_the_slope_of_the_logarithms():
    rng = np.random.default_rng(0)
    sizes = np.array([10, 100, 500, 4000, 10**5])
    costs = 3e-4 * sizes**1.3 * rng.lognormal(0, 0.1, 5)
    expected = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
    assert exponent(sizes.tolist(), costs.tolist()) == pytest.approx(expected, rel=1e-12)
    assert said("rows", [10], [1.0]) == ""


@pytest.mark.parametrize(("sizes", "costs"), [([1], [1]), ([1, 2], [0, 1]), ([0, 2], [1, 1])])
def test_errors(sizes, costs):
    with pytest.raises(ValueError, match="an exponent takes two sizes and positive costs"):
        exponent(sizes, costs)
