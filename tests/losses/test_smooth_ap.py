"""Smooth-AP beside a loop over ranks, a dense form, and values computed elsewhere."""

import math

import pytest
import torch
from public_forms import dense_smooth_ap
from rows import batch, small, value_and_gradient
from torch.testing import assert_close

from ssl_dml.losses import smooth_ap


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def reference(rows, labels, temperature):
    """1 less the smoothed average precision, rank by rank; the query is left out."""
    losses = []
    for a, row in enumerate(rows):
        others = [i for i in range(len(rows)) if i != a]
        s = {i: cosine(row, rows[i]) for i in others}
        positives = [i for i in others if labels[i] == labels[a]]
        found = 0.0
        for p in positives:
            before = {i: sigmoid((s[i] - s[p]) / temperature) for i in others if i != p}
            own = sum(before[i] for i in positives if i != p)
            found += (1 + own) / (1 + sum(before.values()))
        losses.append(1 - found / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_smooth_ap_matches_definition(temperature):
    rows, labels = batch(classes=3)
    expected = reference(rows.tolist(), labels.tolist(), temperature)
    assert_close(smooth_ap(rows, labels, temperature=temperature).item(), expected)


@pytest.mark.parametrize("temperature", [0.01, 0.3])
def test_is_the_dense_form_without_the_query(temperature):
    """With the query, the dense form is that of pytorch-metric-learning."""
    rows, labels = batch(classes=4)
    options = {"temperature": temperature}
    assert_close(
        value_and_gradient(lambda rows: smooth_ap(rows, labels, **options), rows),
        value_and_gradient(
            lambda rows: dense_smooth_ap(rows, labels, count_query=False, **options), rows
        ),
    )


def test_values_computed_elsewhere():
    rows, _ = small()
    # Its author, pytorch-metric-learning, takes three classes of two for two classes of three.
    found, gradient = value_and_gradient(
        lambda r: dense_smooth_ap(r, torch.arange(6) // 3, count_query=True), rows.requires_grad_()
    )
    assert_close(found.item(), 0.21494576854526107, rtol=1e-5, atol=0)
    expected = [-0.22865739341565147, 0.016735081614839557, -0.08645074117988208]
    assert_close(gradient[2].tolist(), expected, rtol=1e-4, atol=0)


def test_smooth_ap_nears_average_precision():
    rows, labels = batch(classes=3)
    sharp = smooth_ap(rows, labels, temperature=1e-6)
    assert_close(sharp.item(), reference(rows.tolist(), labels.tolist(), 1e-6))
