import pytest
import torch
from torch import nn

from ssl_dml.backbones import mlp


@pytest.mark.parametrize(("layers", "kinds"), [
    (1, [nn.Linear]),
    (2, [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]),
    (3, [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]),
])  # fmt: skip
def test_layers(layers, kinds):
    network = mlp(6, 8, 4, layers=layers)
    assert [type(step) for step in network] == kinds
    assert network(torch.randn(3, 6)).shape == (3, 4)


def test_refuses_no_layers():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        mlp(6, 8, 4, layers=0)


def test_norms_can_be_everywhere_or_nowhere():
    everywhere, nowhere = (mlp(6, 8, 4, norm=norm) for norm in ("all", "none"))
    assert [type(step) for step in nowhere] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [step.affine for step in everywhere if isinstance(step, nn.BatchNorm1d)] == [True, False]
    rows = everywhere(torch.randn(9, 6))
    assert rows.std(dim=0, unbiased=False).sub(1).abs().max() < 1e-2


def test_a_hidden_dimension_of_nothing_is_that_of_the_input():
    assert mlp(6, None, 3)[0].out_features == 6
    with pytest.raises(ValueError, match="hidden_dim must be at least 1, got 0"):
        mlp(6, 0, 3)
