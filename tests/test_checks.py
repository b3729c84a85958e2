"""Range checks name the argument, its range and its value."""

import math

import pytest

from ssl_dml.checks import at_least, finite, fraction, in_range, inside, positive, seeds
from ssl_dml.types import ConfigError


@pytest.mark.parametrize(
    ("check", "allowed", "refused", "words"),
    [
        (positive, (1e-9, 3, None), (0, -1.0), "positive"),
        (lambda **v: at_least(2, **v), (2, 2.5, None), (1, 1.999), "at least 2"),
        (lambda **v: in_range(0, 1, **v), (0, 0.5, 1, None), (-1e-9, 1.001), "from 0 to 1"),
        (lambda **v: inside(0, 1, **v), (1e-9, 0.5, None), (0, 1, 10**400), "above 0 and below 1"),
        (finite, (0, -1.0, None, 10**400), (), "finite"),
        (fraction, (1e-9, 1, None), (0, 1.001, -1), "above 0 and at most 1"),
    ],
)
def test_what_is_in_range_passes_and_all_else_is_named(check, allowed, refused, words):
    for value in allowed:
        check(alpha=value)
    for value in (*refused, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"^alpha must be {words}, got {value}$"):
            check(fine=0.5 if words != "at least 2" else 2, alpha=value)


def test_a_key_of_the_configuration_is_named_with_its_section():
    with pytest.raises(ConfigError, match=r"^train\.keep must be at least 1, got 0$"):
        at_least(1, "train", keep=0)
    with pytest.raises(ConfigError, match=r"^train\.clip_norm must be positive, got nan$"):
        positive("train", clip_norm=math.nan)


def test_each_of_several_numbers_is_finite():
    with pytest.raises(ConfigError, match=r"^data\.value_range must be finite, got inf$"):
        finite("data", value_range=(0.0, math.inf))


@pytest.mark.parametrize("seed", [-1, 2**31, 10**30])
def test_a_seed_is_one_that_every_generator_takes(seed):
    seeds(seed=2**31 - 1)
    with pytest.raises(ValueError, match=f"^seed must be from 0 to 2147483647, got {seed}$"):
        seeds(seed=seed)
