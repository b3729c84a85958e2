"""SimCLR, DCL, HCL and SupCon: each is its loss on the projected views."""

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import dcl, hcl, nt_xent, supcon
from ssl_dml.methods import DCL, HCL, RunInfo, SimCLR, SupCon
from ssl_dml.methods.views import embed_views
from ssl_dml.types import Batch

LABELS = torch.tensor([0, 1, 0, 1, 2, -1] * 2)
TASK = RunInfo(num_instances=12, batch_size=6, num_batches=10, labeled=True)
INDICES = torch.tensor([3, 1, 0, 5, 11, 8])
METHODS = [SimCLR, DCL, HCL, SupCon]


@pytest.mark.parametrize(
    ("method", "options", "loss"),
    [
        (SimCLR, {}, lambda v: nt_xent(v[0], v[1], temperature=0.3)),
        (DCL, {}, lambda v: dcl(v, temperature=0.3)),
        (DCL, {"weight_sigma": 0.5}, lambda v: dcl(v, temperature=0.3, weight_sigma=0.5)),
        (HCL, {"beta": 2.0}, lambda v: hcl(v, temperature=0.3, beta=2.0)),
        (SupCon, {}, lambda v: supcon(v, LABELS[INDICES], temperature=0.3)),
    ],
)
def test_the_loss_of_the_projected_views(flat, method, options, loss):
    model = method(flat, TASK, temperature=0.3, output_dim=5, **options)
    views = list(torch.randn(2, 6, 1, 8, 8))
    found = model(Batch(views, INDICES, LABELS[INDICES])).loss
    both = model.projector(model.backbone(torch.cat(views)))
    assert_close(found, loss(both.view(2, 6, 5)))
    found.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_local_views_of_another_size_are_encoded_apart(flat):
    method = SimCLR(flat, TASK, output_dim=5).eval()
    views = [torch.randn(6, 1, 8, 8), torch.randn(6, 1, 8, 8), torch.randn(6, 1, 4, 4)]
    rows = embed_views(method.backbone, method.projector, views)
    assert rows.shape == (3, 6, 5)
    assert_close(rows[2], method.projector(method.backbone(views[2])))
    assert method(Batch(views, INDICES)).loss.isfinite()


@pytest.mark.parametrize("method", METHODS)
def test_a_temperature_that_cannot_be(flat, method):
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        method(flat, TASK, temperature=0.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_one(flat, method):
    with pytest.raises(ValueError, match=r"data\.batch_size must be at least 2.* got 1"):
        method(flat, RunInfo(num_instances=3, batch_size=1, num_batches=1, labeled=True))


@pytest.mark.parametrize("method", [SimCLR, DCL, HCL])
def test_one_view(flat, method):
    with pytest.raises(ValueError, match=r"set crops\.views to 2 or more: .* got 1"):
        method(flat, TASK)(Batch([torch.randn(6, 1, 8, 8)], INDICES))


def test_supcon_takes_one_view_and_needs_labels(flat, run_info):
    one = Batch([torch.randn(6, 1, 8, 8)], INDICES, LABELS[INDICES])
    assert SupCon(flat, TASK)(one).loss > 0
    with pytest.raises(ValueError, match="SupCon needs labels, and the batch has none"):
        SupCon(flat, TASK)(one._replace(labels=None))
    with pytest.raises(ValueError, match="SupCon needs labels and the data have none"):
        SupCon(flat, run_info)
