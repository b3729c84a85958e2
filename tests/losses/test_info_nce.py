"""InfoNCE beside its definition."""

import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import in_batch_info_nce, info_nce

# Rows 0, 2, 4 are the first view of three samples and rows 1, 3, 5 the second.
ROWS = [[0.9, 0.1, 0.2], [0.8, -0.2, 0.3], [-0.1, 0.7, 0.4], [0.2, 0.9, -0.3], [0.1, -0.4, 0.8],
        [-0.3, 0.2, 0.6]]  # fmt: skip


def moco_reference(query, positive, negatives, temperature):
    """Eq. 1 of arXiv:1911.05722 term by term, in Python floats."""

    def similarity(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return math.exp(dot / math.hypot(*a) / math.hypot(*b) / temperature)

    total = 0.0
    for q, k in zip(query, positive, strict=True):
        own = similarity(q, k)
        total -= math.log(own / (own + sum(similarity(q, n) for n in negatives)))
    return total / len(query)


@pytest.mark.parametrize("tile_size", [None, 2])
@pytest.mark.parametrize("keys", [0, 1, 7])
def test_info_nce_matches_definition(keys, tile_size):
    query, positive = torch.randn(2, 4, 3, dtype=torch.float64)
    negatives = torch.randn(keys, 3, dtype=torch.float64)
    actual = info_nce(query, positive, negatives, temperature=0.3, tile_size=tile_size)
    expected = moco_reference(query.tolist(), positive.tolist(), negatives.tolist(), 0.3)
    assert_close(actual.item(), expected, rtol=1e-12, atol=1e-12)


def test_info_nce_known_values():
    rows = torch.tensor(ROWS, dtype=torch.float64)
    queue = torch.tensor(
        [[0.3, -0.5, 0.2], [0.6, 0.6, -0.1], [-0.4, 0.1, 0.9], [0.2, -0.9, -0.3]],
        dtype=torch.float64,
    )
    loss = info_nce(rows[::2], rows[1::2], queue, temperature=0.07)
    assert_close(loss.item(), 1.039891890999978)
    same = torch.ones(2, 3)
    assert_close(info_nce(same, same, torch.ones(9, 3)), torch.tensor(math.log(10)))


def test_in_batch_info_nce_known_values():
    rows = torch.tensor(ROWS, dtype=torch.float64)
    first, second = rows[::2], rows[1::2]
    one_way = in_batch_info_nce(first, second, temperature=0.1)
    assert_close(one_way.item(), 0.5582079965290028)
    both = (one_way + in_batch_info_nce(second, first, temperature=0.1)) / 2
    assert_close(both.item(), 0.5464645072764058)


def test_gradients_of_info_nce():
    tensors = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *x: info_nce(*x, temperature=0.5, tile_size=2), tensors)
    assert torch.autograd.gradcheck(lambda *x: in_batch_info_nce(*x, temperature=0.5), tensors[:2])


def test_info_nce_is_finite_where_a_plain_exponential_overflows():
    query = torch.eye(3, requires_grad=True)
    loss = info_nce(query, -query.detach(), query.detach(), temperature=1e-3)
    loss.backward()
    assert loss.isfinite()
    assert query.grad.isfinite().all()


def test_refuses_a_temperature_that_is_not_positive():
    rows = torch.ones(2, 2)
    for loss in (lambda: info_nce(rows, rows, rows, temperature=0.0),
                 lambda: in_batch_info_nce(rows, rows, temperature=0.0)):  # fmt: skip
        with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
            loss()
