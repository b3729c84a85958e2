"""What of the neighbors is kept."""

import numpy as np

from ssl_dml.exporting.checking import same_neighbors


def test_neighbors_that_are_kept_are_counted():
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert same_neighbors(rows, rows) == 1
    others = same_neighbors(rows, np.roll(rows, 1, axis=0))
    assert 10 / 39 - 0.1 < others < 10 / 39 + 0.1  # as by chance


def test_few_rows_have_fewer_neighbors():
    assert same_neighbors(np.eye(3), np.eye(3)) == 1
