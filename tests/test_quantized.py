"""Rows in fewer bytes."""

from math import hypot

import numpy as np
import pytest

from ssl_dml.quantized import Levels, quantized, restored

ROWS = np.random.default_rng(0).normal(size=(40, 13)).astype(np.float32)


def back(rows, dtype):
    return restored(quantized(rows, dtype), rows.shape[1], dtype)


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 52), ("float16", 26), ("int8", 13), ("bit", 2)]
)
def test_bytes_of_a_row(dtype, size):
    assert quantized(ROWS, dtype).values[0].nbytes == size


def test_int8_is_off_by_half_a_step_at_most():
    step = np.abs(ROWS).max(axis=1, keepdims=True) / 127
    assert (np.abs(back(ROWS, "int8") - ROWS) <= step / 2 + 1e-6).all()


def test_bits_are_signs_of_unit_rows():
    found = back(ROWS, "bit")
    assert (np.sign(found) == np.where(ROWS > 0, 1, -1)).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


def test_floats_stay():
    assert (back(ROWS, "float32") == ROWS).all()
    np.testing.assert_allclose(back(ROWS, "float16"), ROWS, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "bit"])
def test_no_rows_and_rows_of_zeros(dtype):
    assert back(ROWS[:0], dtype).shape == (0, 13)
    assert np.isfinite(back(0 * ROWS, dtype)).all()


def test_levels_by_hand():
    """Mean and mean distance of unit rows, in plain Python; a bit is the side of the mean."""
    rows = (np.abs(ROWS) + 0.5).astype(np.float32)
    unit = [[value / hypot(*row) for value in row] for row in rows.tolist()]
    center = [sum(column) / len(unit) for column in zip(*unit, strict=True)]
    spread = [
        sum(abs(value - middle) for value in column) / len(unit)
        for column, middle in zip(zip(*unit, strict=True), center, strict=True)
    ]
    levels = Levels.of(rows)
    np.testing.assert_allclose(levels.center, center, rtol=1e-6)
    np.testing.assert_allclose(levels.spread, spread, rtol=1e-6)
    found = restored(quantized(7 * rows, "bit", levels), 13, "bit", levels)
    expected = [
        [m + s if value > m else m - s for value, m, s in zip(row, center, spread, strict=True)]
        for row in unit
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bits_around_the_mean_find_what_signs_of_positive_rows_cannot():
    rows = np.random.default_rng(1).gamma(1.0, size=(400, 64)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kept = {}
    for name, levels in (("signs", None), ("levels", Levels.of(rows))):
        found = restored(quantized(rows, "bit", levels), 64, "bit", levels)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        exact, near = unit @ unit.T, unit @ found.T
        for scores in (exact, near):
            np.fill_diagonal(scores, -9)
        tens = (np.argsort(-scores, axis=1, kind="stable")[:, :10] for scores in (exact, near))
        kept[name] = np.mean([len({*a} & {*b}) / 10 for a, b in zip(*tens, strict=True)])
    assert kept["signs"] < 0.05  # all rows are alike
    assert kept["levels"] > 0.25


@pytest.mark.parametrize(
    "given",
    [
        {"center": [0.1, 0.2]},
        {"center": [0.1], "spread": [0.1, 0.2]},
        {"center": [0.1, float("nan")], "spread": [0.1, 0.2]},
        {"center": [0.1, "a"], "spread": [0.1, 0.2]},
        {"center": [0.1, 1e9], "spread": [0.1, 0.2]},
        {"center": 0.5, "spread": [0.1, 0.2]},
    ],
)
def test_levels_that_cannot_be_are_refused(given):
    with pytest.raises(ValueError, match="center and spread need 2 numbers from -1 to 1"):
        Levels.check(given, 2)
    Levels.check({}, 2)
    Levels.check({"center": [0.1, 0.2], "spread": [0, 1]}, 2)
