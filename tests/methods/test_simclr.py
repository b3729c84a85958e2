import pytest
import torch

from ssl_dml.losses import nt_xent
from ssl_dml.methods import SimCLR
from ssl_dml.types import Batch


def test_is_nt_xent_of_the_projected_views(flat, run_info, check_loss):
    method = SimCLR(flat, run_info, temperature=0.3, output_dim=5)
    check_loss(method, lambda views: nt_xent(views[0], views[1], temperature=0.3))


def test_local_views_take_part(flat, run_info):
    views = [torch.randn(6, 1, 8, 8), torch.randn(6, 1, 8, 8), torch.randn(6, 1, 4, 4)]
    method, indices = SimCLR(flat, run_info, output_dim=5).eval(), torch.arange(6)
    loss = method(Batch(views, indices)).loss
    assert loss.isfinite()
    assert loss != method(Batch(views[:2], indices)).loss


def test_refuses_one_view_and_a_temperature_of_0(flat, run_info):
    with pytest.raises(ValueError, match=r"set crops\.views to 2 or more: .* got 1"):
        SimCLR(flat, run_info)(Batch([torch.randn(6, 1, 8, 8)], torch.arange(6)))
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        SimCLR(flat, run_info, temperature=0.0)
