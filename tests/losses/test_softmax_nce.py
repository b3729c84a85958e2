import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import softmax_nce


def reference(positive, negatives):
    """Eq. 3 and 4 of arXiv:1912.01991 in shares, in Python floats."""
    total = 0.0
    for own, others in zip(positive, negatives, strict=True):
        everything = math.exp(own) + sum(math.exp(s) for s in others)
        total -= math.log(math.exp(own) / everything)
        total -= sum(math.log(1 - math.exp(s) / everything) for s in others)
    return total / len(positive)


@pytest.mark.parametrize("keys", [1, 2, 17])
@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0])
def test_matches_definition(keys, scale):
    positive = scale * torch.randn(5, dtype=torch.float64)
    negatives = scale * torch.randn(5, keys, dtype=torch.float64)
    expected = reference(positive.tolist(), negatives.tolist())
    assert_close(softmax_nce(positive, negatives).item(), expected, rtol=1e-9, atol=1e-12)


def test_equal_similarities():
    loss = softmax_nce(torch.full((2,), 3.0), torch.full((2, 4), 3.0))
    assert_close(loss.item(), math.log(5) + 4 * math.log(5 / 4), rtol=1e-6, atol=0)


@pytest.mark.parametrize("far", [30.0, 1000.0])
def test_one_negative_in_front_costs_twice_its_lead(far):
    """Where its fraction is 1 to the last digit, 1 - h is still the positive's fraction."""
    positive = torch.zeros(1, requires_grad=True)
    negatives = torch.tensor([[far]], requires_grad=True)
    loss = softmax_nce(positive, negatives)
    loss.backward()
    assert_close(loss.item(), 2 * far, rtol=1e-6, atol=0)
    assert_close(positive.grad, torch.tensor([-2.0]))
    assert_close(negatives.grad, torch.tensor([[2.0]]))


def test_a_positive_far_in_front_costs_nothing():
    positive = torch.full((2,), 1000.0, requires_grad=True)
    loss = softmax_nce(positive, torch.tensor([[-1000.0, 0.0], [3.0, 3.0]]))
    loss.backward()
    assert_close(loss.item(), 0.0)
    assert_close(positive.grad, torch.zeros(2))


def test_gradient():
    positive = torch.randn(3, dtype=torch.float64, requires_grad=True)
    negatives = 3 * torch.randn(3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(softmax_nce, (positive, negatives.requires_grad_()))


def test_half_inputs_compute_in_float32():
    positive, negatives = torch.randn(4).bfloat16(), torch.randn(4, 6).bfloat16()
    loss = softmax_nce(positive, negatives)
    assert loss.dtype == torch.float32
    assert_close(loss, softmax_nce(positive.float(), negatives.float()))
