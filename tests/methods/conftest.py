"""What the tests of methods share."""

import pytest
from torch import nn

from ssl_dml.backbones import Backbone
from ssl_dml.methods import RunInfo


class Flat(Backbone):
    """Sixteen numbers of an image, each a mean over a cell."""

    feature_dim = 16

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
