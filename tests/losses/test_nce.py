import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.losses import full_softmax, log_normalizer, nce


def reference(positive, negatives, log_z, count):
    """Eq. 5 to 7 of arXiv:1805.01978 in probabilities, in Python floats."""
    total = 0.0
    for own, others in zip(positive, negatives, strict=True):
        noise = len(others) / count

        def h(s, noise=noise):
            p = math.exp(s) / math.exp(log_z)
            return p / (p + noise)

        total -= math.log(h(own)) + sum(math.log(1 - h(s)) for s in others)
    return total / len(positive)


@pytest.mark.parametrize("keys", [1, 3, 16])
@pytest.mark.parametrize("log_z", [0.0, 3.0])
def test_nce_matches_definition(keys, log_z):
    positive = torch.randn(4, dtype=torch.float64)
    negatives = torch.randn(4, keys, dtype=torch.float64)
    actual = nce(
        positive, negatives, log_z=torch.tensor(log_z, dtype=torch.float64), num_instances=50
    )
    expected = reference(positive.tolist(), negatives.tolist(), log_z, 50)
    assert_close(actual.item(), expected, rtol=1e-12, atol=1e-12)


def test_nce_known_value_when_self_normalized():
    positive = torch.tensor([1.2, 0.3], dtype=torch.float64)
    negatives = torch.tensor([[0.1, -0.5, 0.4], [0.2, 0.0, -1.0]], dtype=torch.float64)
    loss = nce(positive, negatives, log_z=torch.zeros((), dtype=torch.float64), num_instances=100)
    assert_close(loss.item(), 10.248756060428212, rtol=1e-12, atol=0)


ROWS = torch.tensor([[0.9, 0.1, 0.2], [-0.1, 0.7, 0.4]], dtype=torch.float64)
BANK = torch.tensor(
    [[0.8, 0.1, 0.1], [0.1, 0.9, 0.2], [-0.2, 0.3, 0.9], [0.5, -0.5, 0.2], [-0.6, 0.2, 0.1]],
    dtype=torch.float64,
)


def test_npid_known_values():
    """Numbers of the authors' algorithm; its epsilon of 1e-7 is what the tolerance allows for."""
    rows, bank = F.normalize(ROWS, dim=1), F.normalize(BANK, dim=1)
    drawn = torch.tensor([[2, 3, 4], [0, 3, 4]])
    similarities = (bank[drawn] @ rows[:, :, None]).squeeze(2) / 0.07
    own = (rows * bank[:2]).sum(1) / 0.07
    # The authors estimate Z with the positives among the draws.
    log_z = log_normalizer(torch.cat([own[:, None], similarities], dim=1), num_instances=5)
    assert_close(log_z.exp().item(), 1308092.301386395, rtol=1e-9, atol=0)
    loss = nce(own, similarities, log_z=log_z, num_instances=5)
    assert_close(loss.item(), 0.6443953911496397, rtol=3e-6, atol=0)
    full = full_softmax(rows, bank, instances=torch.arange(2), temperature=0.07)
    assert_close(full.item(), 0.04074913818396286, rtol=1e-9, atol=0)


def test_nce_of_undecided_h_is_log_two_a_decision():
    """With s = log Z + log(m / N) every h is one half."""
    shift = math.log(4 / 10)
    loss = nce(
        torch.full((3,), shift), torch.full((3, 4), shift), log_z=torch.zeros(()), num_instances=10
    )
    assert_close(loss.item(), 5 * math.log(2), rtol=1e-6, atol=0)


def test_log_normalizer_of_zero_similarities_is_log_n():
    value = log_normalizer(torch.zeros(3, 7), num_instances=100)
    assert_close(value.item(), math.log(100), rtol=1e-6, atol=0)


def test_nce_and_normalizer_stay_finite_where_an_exponential_overflows():
    positive = torch.tensor([1000.0, -1000.0], requires_grad=True)
    negatives = torch.tensor([[900.0], [-900.0]])
    log_z = log_normalizer(negatives, num_instances=10)
    loss = nce(positive, negatives, log_z=log_z, num_instances=10)
    loss.backward()
    assert loss.isfinite()
    assert positive.grad is not None
    assert positive.grad.isfinite().all()


def test_gradients():
    positive = torch.randn(3, dtype=torch.float64, requires_grad=True)
    negatives = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    log_z = torch.tensor(1.5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda p, n: nce(p, n, log_z=log_z, num_instances=9), (positive, negatives)
    )
    rows = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: full_softmax(x, BANK, instances=torch.tensor([1, 4]), temperature=0.5), rows
    )


def test_half_inputs_under_autocast_compute_in_float32():
    rows, bank = torch.randn(4, 8).bfloat16(), torch.randn(6, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = full_softmax(rows, bank, instances=torch.arange(4))
    assert loss.dtype == torch.float32
    assert_close(loss, full_softmax(rows.float(), bank, instances=torch.arange(4)))


def test_refuses_a_temperature_that_is_not_positive():
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        full_softmax(ROWS, BANK, instances=torch.arange(2), temperature=0.0)
