"""ArcFace and the combined margin beside values computed elsewhere."""

import math

import pytest
import torch
from margin_losses import cross_entropy, value
from torch.testing import assert_close

from ssl_dml.margins import ArcFace, CombinedMargin, whole_batch

EDGE = torch.tensor([[-0.7, -0.1, 0.05], [0.8, -0.2, 0.3]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (ArcFace(), 1.1492599360504812),
        (ArcFace(scale=30.0), 0.5523150473614575),
        (ArcFace(scale=16.0, margin=0.3), 0.05365132063361544),
        (CombinedMargin(), 1.424241606141667),
        (CombinedMargin(scale=16.0), 0.480501338176268),
        (CombinedMargin(m1=0.9, m2=0.4, m3=0.15), 1.1724600568530257),
    ],
)
def test_values_computed_elsewhere(margin, expected):
    assert_close(value(margin), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("raw", 38.587475817784636),
        ("monotone", 47.82624001798878),
        ("easy", 40.15543140032153),
        ("clip", 40.51864978791973),
    ],
)
def test_each_policy_beyond_pi(policy, expected):
    found = cross_entropy(ArcFace(beyond_pi=policy), EDGE, torch.zeros(2).long())
    assert_close(found.item(), expected, rtol=1e-9, atol=0)


def test_the_straight_through_gradient_is_another():
    """The slope of the margin, sin(theta + m) / sin(theta), is replaced by 1."""
    cosines = torch.tensor([[0.6, 0.1]], dtype=torch.float64, requires_grad=True)
    theta = math.acos(0.6)
    slopes = {"exact": math.sin(theta + 0.5) / math.sin(theta), "straight_through": 1.0}
    for gradient, slope in slopes.items():
        margin = ArcFace(scale=1.0, gradient=gradient)
        logits, _ = margin(cosines, whole_batch(cosines, torch.tensor([0])))
        assert_close(logits[0, 0].item(), math.cos(theta + 0.5))
        assert_close(torch.autograd.grad(logits[0, 0], cosines)[0][0, 0].item(), slope)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ArcFace(margin=28.6), "margin must be from 0 to pi / 2 radians, got 28.6"),
        (lambda: CombinedMargin(m1=-1.0), "m1 must be at least 0, got -1.0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()
