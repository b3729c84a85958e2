"""Functions of pairs and rows, computed in chunks."""

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import chunks
from ssl_dml.losses.chunks import per_pair

ANCHORS, EXTRA = torch.tensor([0, 0, 1, 3, 3, 3]), torch.tensor([2, 1, 0, 4, 3, 0])


def hinge(rows, anchors, extra):
    return (rows.gather(1, extra[:, None]) - rows + anchors[:, None]).clamp(min=0).sum(dim=1)


@pytest.mark.parametrize("values", [1, 5, 10, 14, 1 << 22])
def test_chunks_are_the_whole(monkeypatch, values):
    """Chunks of one pair, of two, and of all; a row that no pair has gets no gradient."""
    monkeypatch.setattr(chunks, "VALUES_PER_CHUNK", values)
    matrix = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, dtype=torch.float64)
    found, whole = per_pair(matrix, ANCHORS, EXTRA, hinge), hinge(matrix[ANCHORS], ANCHORS, EXTRA)
    assert_close(found, whole)
    ours, expected = (
        torch.autograd.grad((part * weights).sum(), matrix)[0] for part in (found, whole)
    )
    assert_close(ours, expected)
    assert (ours[2] == 0).all()


def test_gradient():
    matrix = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: per_pair(m, ANCHORS, EXTRA, hinge), matrix)


def test_no_pairs_have_no_values():
    matrix = torch.randn(4, 5, requires_grad=True)
    found = per_pair(matrix, ANCHORS[:0], EXTRA[:0], hinge)
    assert found.shape == (0,)
    found.sum().backward()
    assert (matrix.grad == 0).all()
