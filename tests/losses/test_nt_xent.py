"""NT-Xent beside its definition."""

import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import multi_view_nt_xent, nt_xent

# Rows 0, 2, 4 are the first view of three samples and rows 1, 3, 5 the second.
ROWS = [[0.9, 0.1, 0.2], [0.8, -0.2, 0.3], [-0.1, 0.7, 0.4], [0.2, 0.9, -0.3], [0.1, -0.4, 0.8],
        [-0.3, 0.2, 0.6]]  # fmt: skip


def reference(first, second, temperature):
    """Eq. 1 of arXiv:2002.05709 term by term, in Python floats."""
    views = [*first, *second]
    count = len(first)

    def similarity(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.hypot(*a) / math.hypot(*b) / temperature

    total = 0.0
    for i, view in enumerate(views):
        others = [math.exp(similarity(view, other)) for j, other in enumerate(views) if j != i]
        total -= math.log(math.exp(similarity(view, views[(i + count) % len(views)])) / sum(others))
    return total / len(views)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_nt_xent_matches_definition(temperature, batch):
    first, second = torch.randn(2, batch, 3, dtype=torch.float64)
    actual = nt_xent(first, second, temperature=temperature)
    expected = reference(first.tolist(), second.tolist(), temperature)
    assert_close(actual.item(), expected, rtol=1e-12, atol=1e-12)


def test_nt_xent_known_value():
    rows = torch.tensor(ROWS, dtype=torch.float64)
    assert_close(nt_xent(rows[::2], rows[1::2], temperature=0.1).item(), 0.551747421490191)


def test_equal_views_cost_log_of_the_number_of_keys():
    equal = torch.ones(4, 3)
    assert_close(nt_xent(equal, equal), torch.tensor(math.log(7)))


def test_several_positives_are_averaged_outside_the_logarithm():
    """Of three views each has two positives; the loss in Python floats."""
    views = torch.randn(3, 4, 5, dtype=torch.float64)
    rows = [row for view in views.tolist() for row in view]

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    total = 0.0
    for i, row in enumerate(rows):
        scores = [cosine(row, other) / 0.2 for other in rows]
        log_sum = math.log(sum(math.exp(s) for j, s in enumerate(scores) if j != i))
        partners = [j for j in range(12) if j % 4 == i % 4 and j != i]
        total += log_sum - sum(scores[j] for j in partners) / 2
    assert_close(multi_view_nt_xent(views, temperature=0.2).item(), total / 12)


def test_one_view_has_nothing_to_be_compared_with():
    with pytest.raises(ValueError, match="views must be at least 2, got 1"):
        multi_view_nt_xent(torch.ones(1, 2, 2))


def test_gradient():
    first, second = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, temperature=0.5), (first, second))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_is_finite_at_the_ends_of_the_cosine(sign):
    views = torch.eye(4).requires_grad_()
    loss = nt_xent(views, sign * views, temperature=1e-3)
    loss.backward()
    assert loss.isfinite()
    assert views.grad is not None
    assert views.grad.isfinite().all()


def test_zero_rows_are_finite():
    views = torch.zeros(3, 4, requires_grad=True)
    loss = nt_xent(views, views.detach())
    loss.backward()
    assert loss.isfinite()
    assert views.grad is not None
    assert views.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_inputs_compute_in_float32(dtype):
    first, second = torch.randn(2, 8, 16).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(first, second, temperature=0.05)
    assert loss.dtype == torch.float32
    assert_close(loss, nt_xent(first.float(), second.float(), temperature=0.05))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_refuses_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match=f"temperature must be positive, got {temperature}"):
        nt_xent(torch.ones(2, 2), torch.ones(2, 2), temperature=temperature)
