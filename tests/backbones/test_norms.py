import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones.norms import (
    SplitBatchNorm,
    SyncBatchNorm,
    split_batch_norm,
    synchronize_batch_norm,
)


def test_alone_nothing_is_replaced():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    assert isinstance(synchronize_batch_norm(model)[1], nn.BatchNorm2d)


def test_alone_it_is_batch_norm_in_training_and_eval():
    norm, other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    ours = SyncBatchNorm(other)
    x = torch.randn(4, 3, 5, 5)
    assert_close(ours(x), norm(x))
    ours.eval(), norm.eval()
    assert_close(ours(x), norm(x))
    assert ours.state_dict().keys() == norm.state_dict().keys()


def test_statistics_of_several_processes_are_computed_as_those_of_one(monkeypatch):
    """The synchronized path with one process; tests/distributed runs it with two and four."""
    monkeypatch.setattr("ssl_dml.backbones.norms.is_distributed", lambda: True)
    norm, ours = nn.BatchNorm1d(3).double(), SyncBatchNorm(nn.BatchNorm1d(3).double())
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert_close(ours(x), norm(x))
    assert_close(ours.running_mean, norm.running_mean)
    assert_close(ours.running_var, norm.running_var)
    weights = torch.randn(6, 3, dtype=torch.float64)
    both = [torch.autograd.grad((f(x) * weights).sum(), x)[0] for f in (ours, norm)]
    assert_close(*both)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 2, 2)])
def test_split_batch_norm_is_batch_norm_of_each_part(groups, shape):
    plain = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](3)
    with torch.no_grad():
        plain.weight.uniform_()
        plain.bias.uniform_()
    layers = [copy.deepcopy(plain) for _ in range(groups)]
    split = SplitBatchNorm(copy.deepcopy(plain), groups)
    x = torch.randn(shape)
    expected = [layer(part) for layer, part in zip(layers, x.chunk(groups), strict=True)]
    assert_close(split(x), torch.cat(expected))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(layer, name) for layer in layers]).mean(dim=0)
        assert_close(getattr(split, name), mean)
    plain.load_state_dict(split.state_dict())
    assert_close(split.eval()(x), plain.eval()(x))


def test_every_batch_norm_is_split():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3)))
    split_batch_norm(model, 2)
    assert isinstance(model[1][0], SplitBatchNorm)


def test_a_replaced_norm_stays_in_eval_mode():
    norms = nn.Sequential(nn.BatchNorm1d(3).eval(), nn.BatchNorm1d(3))
    split_batch_norm(norms, 2)
    assert [norm.training for norm in norms] == [False, True]
