import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import Backbone
from ssl_dml.losses import nt_xent
from ssl_dml.methods import SimCLR, Task


class Flat(Backbone):
    feature_dim = 16

    def __init__(self):
        super().__init__()
        self.layer = nn.AdaptiveAvgPool2d(4)

    def forward(self, samples):
        return self.layer(samples).flatten(1)


TASK = Task(num_instances=10, batch_size=6, num_batches=10)


def test_two_views_are_nt_xent():
    method = SimCLR(Flat(), TASK, temperature=0.3, output_dim=5)
    views = list(torch.randn(2, 6, 1, 8, 8))
    loss, _ = method(views, torch.arange(6))
    both = method.projector(method.backbone(torch.cat(views)))
    assert_close(loss, nt_xent(both[:6], both[6:], temperature=0.3))


def test_local_views_of_another_size_are_encoded_apart():
    method = SimCLR(Flat(), TASK, output_dim=5).eval()
    views = [torch.randn(6, 1, 8, 8), torch.randn(6, 1, 8, 8), torch.randn(6, 1, 4, 4)]
    rows = method.encode(views)
    assert rows.shape == (3, 6, 5)
    assert_close(rows[2], method.projector(method.backbone(views[2])))
    assert method(views, torch.arange(6)).loss.isfinite()


def test_one_view_is_refused():
    with pytest.raises(ValueError, match=r"set crops\.views to 2 or more"):
        SimCLR(Flat(), TASK)([torch.randn(4, 1, 8, 8)], torch.arange(4))


def test_temperature_is_checked_when_it_is_built():
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        SimCLR(Flat(), TASK, temperature=0.0)
