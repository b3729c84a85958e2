"""A network that does not fit in memory is refused before its memory is asked for."""

import pytest
import torch
from torch import nn

from ssl_dml.training import Allocations, allocations
from ssl_dml.types import ConfigError

BUILDERS = {
    "linear": lambda n: nn.Linear(128, n),
    "zeros": lambda n: torch.zeros(n, 128),
    "randn": lambda n: torch.randn(n, 128),
    "eye": lambda n: torch.eye(n, 128),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_a_tensor_larger_than_memory_names_its_key(build):
    values = {"method": {"class_path": "x", "init_args": {"queue_size": 10**11, "on": True}}}
    line = r"^method\.init_args\.queue_size 100000000000 needs a tensor of .* 51,200\.0 GB, .*lower"
    with pytest.raises(ConfigError, match=line), Allocations(values):
        build(10**11)
    with pytest.raises(ConfigError, match="the network needs a tensor"), Allocations({}):
        build(10**11)


def test_what_fits_is_built_as_ever():
    torch.manual_seed(3)
    expected = nn.Linear(4, 5).weight
    torch.manual_seed(3)
    with Allocations({}):
        found = nn.Linear(4, 5).weight
        nn.Linear(10**6, 10**6, device="meta")
    assert torch.equal(found, expected)


def test_weights_need_as_much_for_gradients(monkeypatch):
    network = nn.Linear(10, 10, bias=False)
    monkeypatch.setattr(allocations, "free_memory", lambda: 399)
    with pytest.raises(ConfigError, match="needs as much for gradients"):
        allocations.refuse_large(network)
    monkeypatch.setattr(allocations, "free_memory", lambda: 400)
    allocations.refuse_large(network)
