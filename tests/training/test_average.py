"""The average of a backbone's weights, and what a checkpoint has of it."""

import torch
from torch.testing import assert_close

from ssl_dml.backbones import TimmBackbone
from ssl_dml.training.average import Average

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def steps(backbone):
    """Three updates, which move one bias, one running mean and one count."""
    for step in (1, 2, 3):
        backbone.network.bn1.bias.data.fill_(float(step))
        backbone.network.bn1.running_mean.fill_(float(step))
        backbone.network.bn1.num_batches_tracked.fill_(step)
        yield step


def test_it_follows_weights_and_statistics(gray):
    backbone = TimmBackbone(gray, **RESNET)
    backbone.network.bn1.bias.data.fill_(0.0)
    average = Average(backbone, 0.75)
    assert list(average.follow(steps(backbone))) == [1, 2, 3]
    expected = 0.0
    for value in (1.0, 2.0, 3.0):
        expected = 0.75 * expected + 0.25 * value
    norm = average.network.network.bn1
    assert_close(norm.bias, torch.full_like(norm.bias, expected))
    assert_close(norm.running_mean, torch.full_like(norm.running_mean, expected))
    assert norm.num_batches_tracked == 3
    assert not any(p.requires_grad for p in average.network.parameters())
    assert backbone.network.bn1.bias[0] == 3.0


def test_its_state_is_put_back(gray):
    backbone = TimmBackbone(gray, **RESNET)
    first, second = Average(backbone, 0.5), Average(TimmBackbone(gray, **RESNET), 0.5)
    second.load_state_dict(first.state_dict())
    for name, value in first.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], value)
    assert first.parts == {"average": first}


def test_without_a_decay_it_is_the_backbone_and_has_no_state(gray):
    backbone = TimmBackbone(gray, **RESNET)
    average = Average(backbone, None)
    assert average.network is backbone
    assert average.parts == {}
    assert list(average.follow(steps(backbone))) == [1, 2, 3]
