import pytest
import torch

from ssl_dml.losses import hcl
from ssl_dml.methods import HCL
from ssl_dml.types import Batch


@pytest.mark.parametrize("options", [{"beta": 2.0}, {"tau_plus": 0.3}])
def test_is_its_loss_of_the_projected_views(flat, run_info, check_loss, options):
    method = HCL(flat, run_info, temperature=0.3, output_dim=5, **options)
    expected = {"beta": 1.0, "tau_plus": 0.1, **options}
    check_loss(method, lambda views: hcl(views, temperature=0.3, **expected))


def test_refuses_one_view_and_a_temperature_of_0(flat, run_info):
    with pytest.raises(ValueError, match=r"set crops\.views to 2 or more: .* got 1"):
        HCL(flat, run_info)(Batch([torch.randn(6, 1, 8, 8)], torch.arange(6)))
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        HCL(flat, run_info, temperature=0.0)
