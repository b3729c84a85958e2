import pytest
import torch

from ssl_dml.losses import dcl
from ssl_dml.methods import DCL
from ssl_dml.types import Batch


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_is_its_loss_of_the_projected_views(flat, run_info, check_loss, sigma):
    method = DCL(flat, run_info, temperature=0.3, output_dim=5, weight_sigma=sigma)
    check_loss(method, lambda views: dcl(views, temperature=0.3, weight_sigma=sigma))


def test_refuses_one_view_and_a_temperature_of_0(flat, run_info):
    with pytest.raises(ValueError, match=r"set crops\.views to 2 or more: .* got 1"):
        DCL(flat, run_info)(Batch([torch.randn(6, 1, 8, 8)], torch.arange(6)))
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        DCL(flat, run_info, temperature=0.0)
