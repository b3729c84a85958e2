"""Shared by the tests of methods."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import Backbone, TimmBackbone, save
from ssl_dml.methods import RunInfo
from ssl_dml.types import Batch, ImageSpec


class Flat(Backbone):
    """Sixteen features of an image, each the mean of a cell."""

    feature_dim = 16
    inputs = ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.25,))

    def __init__(self):
        super().__init__()
        self.layer = nn.AdaptiveAvgPool2d(4)

    def forward(self, samples):
        return self.layer(samples).flatten(1)


@pytest.fixture
def flat():
    return Flat()


@pytest.fixture
def run_info():
    """Of six samples a batch among twelve."""
    return RunInfo(num_instances=12, batch_size=6, num_batches=10)


@pytest.fixture
def check_loss():
    """Check a method of two views against a function of the projected views."""

    def check(method, expected, labels=None):
        views = list(torch.randn(2, 6, 1, 8, 8))
        found = method(Batch(views, torch.tensor([3, 1, 0, 5, 11, 8]), labels)).loss
        both = method.projector(method.backbone(torch.cat(views)))
        assert_close(found, expected(both.view(2, 6, -1)))
        found.backward()
        assert all(p.grad.isfinite().all() for p in method.parameters())

    return check


@pytest.fixture
def teacher(tmp_path):
    """Folder of a saved network for the images that Flat takes."""
    arguments = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
    network = TimmBackbone(Flat.inputs, **arguments)
    class_path = "ssl_dml.backbones.TimmBackbone"
    save(network, tmp_path / "teacher", class_path, arguments, trained={})
    return str(tmp_path / "teacher")
