import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.methods.momentum import follow, follower


@pytest.mark.parametrize("momentum", [0.0, 0.25, 1.0, torch.tensor(0.25)])
def test_parameters_are_averaged_and_buffers_stay(momentum):
    leader = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    slow = follower(leader)
    before = [p.clone() for p in slow.parameters()]
    leader(5 + torch.randn(4, 3))  # moves the running statistics
    for parameter in leader.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    follow(slow, leader, momentum)
    for old, new, led in zip(before, slow.parameters(), leader.parameters(), strict=True):
        assert_close(new, momentum * old + (1 - momentum) * led.detach())
        assert not new.requires_grad
        assert led.requires_grad
    assert torch.equal(slow[1].running_mean, torch.zeros(2))


def test_networks_of_other_architecture_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        follow(nn.Linear(3, 2, bias=False), nn.Linear(3, 2), 0.5)
