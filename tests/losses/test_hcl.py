import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import hcl, nt_xent


def reference(views, temperature, beta, tau_plus):
    """Sec. 3 of arXiv:2010.04592 for two views, term by term in Python floats."""

    def similarity(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return math.exp(dot / math.hypot(*a) / math.hypot(*b) / temperature)

    count, total = len(views[0]), 0.0
    negatives = 2 * count - 2
    for first, second in (views, views[::-1]):
        for i, anchor in enumerate(first):
            own = similarity(anchor, second[i])
            others = [similarity(anchor, v[j]) for v in views for j in range(count) if j != i]
            weights = [n**beta for n in others]
            mean = sum(weights) / negatives
            hard = sum(w * n for w, n in zip(weights, others, strict=True)) / mean
            freed = (hard - tau_plus * negatives * own) / (1 - tau_plus)
            freed = max(freed, negatives * math.exp(-1 / temperature))
            total -= math.log(own / (own + freed))
    return total / (2 * count)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("tau_plus", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("tile_size", [None, 3])
def test_matches_definition(beta, tau_plus, tile_size):
    views = torch.randn(2, 5, 3, dtype=torch.float64)
    found = hcl(views, temperature=0.5, beta=beta, tau_plus=tau_plus, tile_size=tile_size)
    expected = reference(views.tolist(), 0.5, beta, tau_plus)
    assert_close(found.item(), expected, rtol=1e-11, atol=1e-11)


def test_without_both_corrections_it_is_nt_xent():
    views = torch.randn(2, 6, 4, dtype=torch.float64)
    found = hcl(views, temperature=0.3, beta=0.0, tau_plus=0.0)
    assert_close(found, nt_xent(views[0], views[1], temperature=0.3))


def test_equal_views_cost_log_of_one_more_than_the_negatives():
    assert_close(hcl(torch.ones(2, 4, 3)), torch.tensor(math.log(7)))


def test_gradient():
    views = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: hcl(v, tile_size=3), [views])


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.005])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_is_finite_at_the_ends_of_the_cosine(sign, temperature):
    views = torch.stack([torch.eye(4), sign * torch.eye(4)]).requires_grad_()
    loss = hcl(views, temperature=temperature)
    loss.backward()
    assert loss.isfinite()
    assert views.grad.isfinite().all()


def test_half_inputs_compute_in_float32():
    views = torch.randn(2, 8, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = hcl(views)
    assert_close(loss, hcl(views.float()))


@pytest.mark.parametrize(
    ("batch", "options", "words"),
    [
        (2, {"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        (2, {"beta": -1.0}, r"beta must be at least 0, got -1\.0"),
        (2, {"tau_plus": 1.0}, r"tau_plus must be from 0 to below 1, got 1\.0"),
        (1, {}, "batch must be at least 2, got 1"),
    ],
)
def test_errors(batch, options, words):
    with pytest.raises(ValueError, match=words):
        hcl(torch.ones(2, batch, 2), **options)
