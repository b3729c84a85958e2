import pytest
import torch
from timm.optim import Lars
from torch import nn
from torch.testing import assert_close

from ssl_dml.training import parameter_groups, scale_learning_rate
from ssl_dml.training.optimizers import fuse


def model():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_vectors_do_not_decay_and_frozen_ones_are_left_out():
    network = model()
    network[3].weight.requires_grad_(False)
    matrices, vectors = parameter_groups(network)
    assert [tuple(p.shape) for p in matrices["params"]] == [(4, 1, 3, 3)]
    assert all(p.ndim == 1 for p in vectors["params"])
    assert len(vectors["params"]) == 4
    assert vectors["weight_decay"] == 0.0


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_scaling(rule, factor):
    optimizer = torch.optim.SGD(parameter_groups(model()), lr=0.1)
    scale_learning_rate(optimizer, 1024, rule)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1 * factor] * 2


def test_lars_adapts_and_decays_matrices_alone():
    network = model()
    groups = parameter_groups(network)
    optimizer = Lars(groups, lr=0.5, momentum=0.0, weight_decay=0.1, trust_coeff=0.001)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    for name, p in network.named_parameters():
        old, gradient = before[name], p.grad
        if p.ndim == 1:
            expected = old - 0.5 * gradient
        else:
            trust = 0.001 * old.norm() / (gradient.norm() + 0.1 * old.norm())
            expected = old - 0.5 * trust * (gradient + 0.1 * old)
        assert_close(p.detach(), expected)


def test_kernels_of_a_device_update_all_parameters_at_once_where_torch_has_them():
    def fused(optimizer, device, wanted=True):
        fuse(optimizer, torch.device(device), wanted=wanted)
        return [group.get("fused") for group in optimizer.param_groups]

    groups = parameter_groups(model())
    adam = torch.optim.AdamW(groups, lr=0.1)
    assert fused(adam, "cuda") == [True, True]
    assert fused(adam, "cuda", wanted=False) == [None, None]
    assert fused(adam, "meta") == [None, None]
    assert fused(torch.optim.SGD(parameter_groups(model()), lr=0.1), "mps") == [True, True]
    # A checkpoint of an accelerator, resumed on a processor.
    adam.param_groups[0]["fused"] = True
    assert fused(adam, "cpu") == [None, None]
    # What somebody chose stays; what has no such kernels is left alone.
    assert fused(torch.optim.AdamW(parameter_groups(model()), foreach=True), "cuda") == [None, None]
    assert fused(torch.optim.AdamW(parameter_groups(model()), fused=False), "cuda") == [False] * 2
    lars = Lars(parameter_groups(model()), lr=0.1)
    assert fused(lars, "cuda") == [None, None]
    assert "fused" not in lars.param_groups[0]
