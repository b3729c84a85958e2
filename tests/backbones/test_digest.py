import torch
from torch import nn

from ssl_dml.backbones.digest import weights_digest


def test_it_changes_with_a_value_a_type_and_a_name():
    layer = nn.Linear(2, 2)
    found = {weights_digest(layer)}
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3
    found.add(weights_digest(layer))
    found.add(weights_digest(layer.to(torch.bfloat16)))
    found.add(weights_digest(nn.Sequential(layer)))
    assert len(found) == 4
