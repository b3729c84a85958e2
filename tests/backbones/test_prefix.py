"""A model that is used at a prefix of its embedding."""

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import TimmBackbone
from ssl_dml.backbones.prefix import Prefix
from ssl_dml.types import ConfigError


@pytest.fixture
def network(color):
    return TimmBackbone(color, name="resnet18", width=0.125).eval()


def test_first_values_of_length_1(network):
    samples = torch.randn(3, 3, 16, 16)
    found, whole = Prefix(network, 5)(samples), network(samples)
    assert_close(found.norm(dim=1), torch.ones(3))
    assert_close(found * whole[:, :5].norm(dim=1, keepdim=True), whole[:, :5])


@pytest.mark.parametrize("dim", [0, -1, 65])
def test_dimensions_that_there_are_not_are_refused(network, dim):
    with pytest.raises(ConfigError, match=rf"dim must be from 1 to 64, .* got {dim}"):
        Prefix(network, dim)
