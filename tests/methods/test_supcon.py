import pytest
import torch

from ssl_dml.losses import supcon
from ssl_dml.methods import RunInfo, SupCon
from ssl_dml.types import Batch

LABELED = RunInfo(num_instances=12, batch_size=6, num_batches=10, labeled=True)
LABELS = torch.tensor([0, 1, 0, 1, 2, -1])


@pytest.mark.parametrize("base", [None, 0.07])
def test_is_its_loss_of_the_projected_views(flat, check_loss, base):
    method = SupCon(flat, LABELED, temperature=0.3, output_dim=5, base_temperature=base)
    options = {"temperature": 0.3, "base_temperature": base}
    check_loss(method, lambda views: supcon(views, LABELS, **options), LABELS)


def test_takes_one_view_and_needs_labels(flat, run_info):
    one = Batch([torch.randn(6, 1, 8, 8)], torch.arange(6), LABELS)
    assert SupCon(flat, LABELED)(one).loss > 0
    with pytest.raises(ValueError, match="SupCon needs labels, and the batch has none"):
        SupCon(flat, LABELED)(one._replace(labels=None))
    with pytest.raises(ValueError, match="SupCon needs labels and the data have none"):
        SupCon(flat, run_info)


def test_refuses_a_temperature_of_0(flat):
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        SupCon(flat, LABELED, temperature=0.0)
