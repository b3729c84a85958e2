import math

import pytest
import torch
from benchmarks.memory import PeakMemory
from torch.testing import assert_close

from ssl_dml.losses import log_sum_exp, nt_xent


def dense(queries, keys, scale, excluded):
    """The whole matrix, in plain torch."""
    scores = scale * queries @ keys.T
    for row, left_out in enumerate(excluded.tolist()):
        for place in left_out:
            if 0 <= place < len(keys):
                scores[row, place] = -torch.inf
    return scores.logsumexp(dim=1)


@pytest.mark.parametrize("tile_size", [1, 3, 4, 7, 100, None])
@pytest.mark.parametrize("left_out", [0, 1, 3])
def test_tiles_are_the_whole_matrix(tile_size, left_out):
    queries = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    keys = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    excluded = torch.randint(-2, 14, (5, left_out))
    weights = torch.randn(5, dtype=torch.float64)
    tiled = log_sum_exp(queries, keys, scale=3.0, excluded=excluded, tile_size=tile_size)
    whole = dense(queries, keys, 3.0, excluded)
    assert_close(tiled, whole)
    ours, theirs = (
        torch.autograd.grad((found * weights).sum(), (queries, keys)) for found in (tiled, whole)
    )
    assert_close(ours, theirs)


@pytest.mark.parametrize("tile_size", [1, 3, 4, 7, 100, None])
@pytest.mark.parametrize("left_out", [0, 1, 3])
def test_rows_among_themselves_are_seen_once(tile_size, left_out):
    rows = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    # What one leaves out, the other may keep.
    excluded = torch.randint(-2, 14, (11, left_out))
    weights = torch.randn(11, dtype=torch.float64)
    tiled = log_sum_exp(rows, rows, scale=3.0, excluded=excluded, tile_size=tile_size)
    whole = dense(rows, rows, 3.0, excluded)
    assert_close(tiled, whole)
    (ours,), (theirs,) = (
        torch.autograd.grad((found * weights).sum(), rows) for found in (tiled, whole)
    )
    assert_close(ours, theirs)


def test_gradient():
    tensors = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 6)]
    excluded = torch.tensor([[0], [5], [2], [1]])

    def function(queries, keys):
        return log_sum_exp(queries, keys, scale=2.0, excluded=excluded, tile_size=2)

    assert torch.autograd.gradcheck(function, tensors)


def test_scale_zero_counts_the_keys():
    rows = torch.randn(3, 4)
    found = log_sum_exp(rows, torch.randn(9, 4), scale=0.0, excluded=torch.zeros(3, 1).long())
    assert_close(found, torch.full((3,), math.log(8)))


def test_a_row_without_keys_is_minus_infinity_and_has_no_gradient():
    queries = torch.randn(2, 3, requires_grad=True)
    keys = torch.randn(1, 3, requires_grad=True)
    found = log_sum_exp(queries, keys, scale=1.0, excluded=torch.tensor([[0], [-1]]))
    assert found[0] == -torch.inf
    found[1].backward()
    assert queries.grad[0].tolist() == [0, 0, 0]
    assert queries.grad.isfinite().all()
    assert log_sum_exp(queries, keys[:0], scale=1.0).tolist() == [-math.inf] * 2


def test_keys_without_gradient_cost_none():
    queries = torch.randn(2, 3, requires_grad=True)
    keys = torch.randn(5, 3)
    log_sum_exp(queries, keys, scale=1.0, tile_size=2).sum().backward()
    assert queries.grad is not None
    assert keys.grad is None


def test_backward_under_autocast_is_in_full_precision():
    rows = torch.randn(2, 40, 8)
    gradients = []
    for enabled in (False, True):
        views = rows.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            nt_xent(views[0], views[1], tile_size=16).backward()
        gradients.append(views.grad)
    assert torch.equal(*gradients)


def test_tile_size_is_checked():
    with pytest.raises(ValueError, match="tile_size must be at least 1, got 0"):
        log_sum_exp(torch.ones(2, 2), torch.ones(2, 2), scale=1.0, tile_size=0)


def test_single_precision_agrees_to_a_millionth():
    first, second = torch.randn(2, 300, 32)
    losses, gradients = [], []
    for tile_size in (None, 64):
        views = first.clone().requires_grad_(), second.clone().requires_grad_()
        loss = nt_xent(*views, temperature=0.1, tile_size=tile_size)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.stack([view.grad for view in views]))
    assert_close(losses[1], losses[0], rtol=1e-6, atol=1e-6)
    assert_close(gradients[1], gradients[0], rtol=0, atol=1e-6)


def test_memory_stays_far_below_the_matrix():
    """8,192 rows: the similarity matrix alone would be 256 MB, and a dense loss holds several."""
    rows = [torch.randn(4096, 128).requires_grad_() for _ in range(2)]
    used = {}
    for tile_size in (512, None):
        with PeakMemory(torch.device("cpu")) as memory:
            nt_xent(*rows, tile_size=tile_size).backward()
        used[tile_size] = memory.megabytes
    assert used[512] < 60
    assert used[None] > 200, "the measurement sees the whole matrix"
