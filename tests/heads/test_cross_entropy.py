"""Cross-entropy of logits beside its formula in Python."""

import math

import pytest
import torch

from ssl_dml.heads import CrossEntropy
from ssl_dml.types import ConfigError


def expected(rows, labels, smoothing):
    losses = []
    for row, label in zip(rows, labels, strict=True):
        total = math.log(sum(math.exp(value) for value in row))
        own, every = total - row[label], sum(total - value for value in row) / len(row)
        losses.append((1 - smoothing) * own + smoothing * every)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_matches_the_formula(smoothing):
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    loss, logs = CrossEntropy(4, 3, smoothing=smoothing)(logits, labels)
    assert loss.item() == pytest.approx(expected(logits.tolist(), labels.tolist(), smoothing))
    right = [max(range(4), key=row.__getitem__) == label
             for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]  # fmt: skip
    assert logs["accuracy"].item() == pytest.approx(sum(right) / 6)


def test_gradient():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    head = CrossEntropy(4, 4, smoothing=0.1)
    assert torch.autograd.gradcheck(lambda x: head(x, torch.tensor([0, 3, 1])).loss, logits)


def test_is_finite_where_a_plain_exponential_overflows():
    assert CrossEntropy(2, 2)(torch.tensor([[1e4, -1e4]]), torch.tensor([1])).loss.isfinite()


def test_refuses_too_few_logits_and_labels():
    with pytest.raises(ConfigError, match="set embedding_dim to 10 and neck to linear"):
        CrossEntropy(8, 10)
    with pytest.raises(ValueError, match="smoothing must be from 0 to 1, got 2"):
        CrossEntropy(8, 8, smoothing=2.0)
    with pytest.raises(ValueError, match="labels must be from 0 to 2, got 3"):
        CrossEntropy(8, 3)(torch.zeros(1, 8), torch.tensor([3]))
