import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones.norms import (
    FrozenBatchNorm,
    SplitBatchNorm,
    SyncBatchNorm,
    freeze_batch_norm,
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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_an_activation_that_ends_a_norm_is_kept(monkeypatch, training, several):
    monkeypatch.setattr("ssl_dml.backbones.norms.is_distributed", lambda: several)
    norm = BatchNormAct2d(3).train(training)
    x = torch.randn(4, 3, 5, 5)
    for ours in (SyncBatchNorm(copy.deepcopy(norm)), SplitBatchNorm(copy.deepcopy(norm), 1)):
        assert_close(ours(x), copy.deepcopy(norm)(x))
        assert ours.state_dict().keys() == norm.state_dict().keys()


def test_frozen_batch_norm_is_that_of_evaluation_in_training_too():
    model = nn.Sequential(nn.BatchNorm2d(3), BatchNormAct2d(3), nn.BatchNorm2d(3))
    model(torch.randn(8, 3, 2, 2))
    model[0].requires_grad_(False), model[1].requires_grad_(False)
    before, x = copy.deepcopy(model), torch.randn(8, 3, 2, 2)
    freeze_batch_norm(model)
    model.train()
    assert [type(norm) for norm in model] == [FrozenBatchNorm, FrozenBatchNorm, nn.BatchNorm2d]
    assert model.state_dict().keys() == before.state_dict().keys()
    frozen = model[:2](x)
    assert_close(frozen, before[:2].eval()(x))
    assert_close(model[0].running_mean, before[0].running_mean, rtol=0, atol=0)
    assert (model[1](x) >= 0).all()


def test_what_is_frozen_is_neither_synchronized_nor_split(monkeypatch):
    model = nn.Sequential(nn.BatchNorm1d(2).requires_grad_(False))
    freeze_batch_norm(model)
    split_batch_norm(model, 2)
    monkeypatch.setattr("ssl_dml.backbones.norms.is_distributed", lambda: True)
    assert isinstance(copy.deepcopy(synchronize_batch_norm(model))[0], FrozenBatchNorm)


def test_batch_norm_without_statistics_cannot_be_frozen():
    model = nn.Sequential(nn.BatchNorm1d(2, affine=False, track_running_stats=False))
    freeze_batch_norm(model)
    assert isinstance(model[0], nn.BatchNorm1d)
