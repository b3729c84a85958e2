import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.methods import NNCLR
from ssl_dml.types import Batch

INDICES = torch.arange(6)
OPTIONS = {"queue_size": 20, "predictor_dim": 16, "output_dim": 5}


def images():
    return list(torch.randn(2, 6, 1, 8, 8))


def test_a_step_is_the_papers_pseudocode(flat, run_info):
    method, views = NNCLR(flat, run_info, temperature=0.3, **OPTIONS), images()
    queue = method.queue.keys.clone()
    loss, _ = method(Batch(views, INDICES))
    projected = [method.projector(flat(view)) for view in views]
    predicted = [F.normalize(method.predictor(rows), dim=1) for rows in projected]
    units = [F.normalize(rows, dim=1).detach() for rows in projected]
    near = [queue[(rows @ queue.T).argmax(dim=1)] for rows in units]
    labels = torch.arange(6)
    both = [
        F.cross_entropy(n @ p.T / 0.3, labels) for n, p in zip(near, predicted[::-1], strict=True)
    ]
    assert_close(loss, (both[0] + both[1]) / 2)
    assert_close(method.queue.keys[:6], units[0])
    assert_close(method.queue.keys[6:], queue[6:])


def test_gradient_reaches_every_weight(flat, run_info):
    method = NNCLR(flat, run_info, **OPTIONS)
    method(Batch(images(), INDICES)).loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())
    assert method.projector[0].weight.grad.abs().max() > 0


def test_it_goes_on_from_its_state(flat, run_info):
    method, other = (NNCLR(flat, run_info, **OPTIONS) for _ in range(2))
    for _ in range(4):
        method(Batch(images(), INDICES))
    other.load_state_dict(method.state_dict())
    views = images()
    assert torch.equal(method(Batch(views, INDICES)).loss, other(Batch(views, INDICES)).loss)
    assert torch.equal(method.queue.keys, other.queue.keys)


def test_refuses_settings_that_cannot_be(flat, run_info):
    with pytest.raises(ValueError, match="queue_size must be at least the batch, 6; got 3"):
        NNCLR(flat, run_info, queue_size=3)
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        NNCLR(flat, run_info, temperature=0.0)
    with pytest.raises(ValueError, match=r"set crops\.views to 2"):
        NNCLR(flat, run_info, **OPTIONS)(Batch(images() * 2, INDICES))
