"""Rows in fewer bytes."""

import numpy as np
import pytest

from ssl_dml.quantized import quantized, restored

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
