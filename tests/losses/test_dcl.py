import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import dcl


def reference(views, temperature, sigma):
    """Eq. 5 and 6 of arXiv:2110.06848 for two views, term by term in Python floats."""

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    count = len(views[0])
    positives = [cosine(a, b) for a, b in zip(*views, strict=True)]
    weights = [1.0] * count
    if sigma is not None:
        mean = sum(math.exp(s / sigma) for s in positives) / count
        weights = [2 - math.exp(s / sigma) / mean for s in positives]
    total = 0.0
    for anchors in views:
        for i, anchor in enumerate(anchors):
            others = [cosine(anchor, v[j]) for v in views for j in range(count) if j != i]
            total += math.log(sum(math.exp(s / temperature) for s in others))
            total -= weights[i] * positives[i] / temperature
    return total / (2 * count)


@pytest.mark.parametrize("sigma", [None, 0.5, 2.0])
@pytest.mark.parametrize("tile_size", [None, 3])
@pytest.mark.parametrize("batch", [2, 5])
def test_matches_definition(batch, tile_size, sigma):
    views = torch.randn(2, batch, 3, dtype=torch.float64)
    found = dcl(views, temperature=0.2, weight_sigma=sigma, tile_size=tile_size)
    assert_close(found.item(), reference(views.tolist(), 0.2, sigma), rtol=1e-12, atol=1e-12)


def test_equal_views_cost_log_of_the_negatives():
    assert_close(dcl(torch.ones(2, 4, 3), temperature=0.5), torch.tensor(math.log(6)))


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_gradient(sigma):
    views = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: dcl(v, weight_sigma=sigma, tile_size=3), [views])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_is_finite_at_the_ends_of_the_cosine(sign):
    views = torch.stack([torch.eye(4), sign * torch.eye(4)]).requires_grad_()
    loss = dcl(views, temperature=1e-3, weight_sigma=1e-2)
    loss.backward()
    assert loss.isfinite()
    assert views.grad.isfinite().all()


def test_half_inputs_compute_in_float32():
    views = torch.randn(2, 8, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = dcl(views)
    assert_close(loss, dcl(views.float()))


@pytest.mark.parametrize(
    ("views", "options", "words"),
    [
        (torch.ones(2, 2, 2), {"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        (torch.ones(2, 2, 2), {"weight_sigma": 0.0}, r"weight_sigma must be positive, got 0\.0"),
        (torch.ones(2, 1, 2), {}, "batch must be at least 2, got 1"),
        (torch.ones(1, 2, 2), {}, "views must be at least 2, got 1"),
    ],
)
def test_errors(views, options, words):
    with pytest.raises(ValueError, match=words):
        dcl(views, **options)
