import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.backbones import TimmBackbone
from ssl_dml.backbones.norms import SplitBatchNorm
from ssl_dml.losses import info_nce
from ssl_dml.methods import MoCo, RunInfo
from ssl_dml.types import Batch

INDICES = torch.arange(6)
OPTIONS = {"queue_size": 20, "output_dim": 5, "parts": 3}


def images():
    return list(torch.randn(2, 6, 1, 8, 8))


def test_a_step_is_the_papers_algorithm(flat, run_info):
    """Follow, encode keys, contrast with the old queue, enqueue; each line apart."""
    moco, views = MoCo(flat, run_info, momentum=0.9, **OPTIONS), images()
    weights = torch.randn_like(moco.projector[0].weight)
    moco.key_projector[0].weight.data.copy_(weights)
    old, queue = moco.projector[0], moco.queue.keys.clone()
    loss, _ = moco(Batch(views, INDICES))

    followed = 0.9 * weights + 0.1 * old.weight
    assert_close(moco.key_projector[0].weight, followed)
    keys = F.normalize(flat(views[1]) @ followed.T + moco.key_projector[0].bias, dim=1)
    query = old(flat(views[0]))
    assert_close(loss, info_nce(query, keys, queue, temperature=0.07))
    assert_close(moco.queue.keys[:6], keys)
    assert_close(moco.queue.keys[6:], queue[6:])


def test_the_symmetric_loss_is_the_mean_of_both_and_enqueues_both(flat, run_info):
    moco, views = MoCo(flat, run_info, symmetric=True, **OPTIONS), images()
    queue = moco.queue.keys.clone()
    loss, _ = moco(Batch(views, INDICES))
    keys, queries = [moco.keys(v) for v in views], [moco.projector(flat(v)) for v in views]
    first = info_nce(queries[0], keys[1], queue, temperature=0.07)
    second = info_nce(queries[1], keys[0], queue, temperature=0.07)
    assert_close(loss, (first + second) / 2)
    assert_close(moco.queue.keys[:12], torch.cat([keys[1], keys[0]]))


def test_the_queue_does_not_reach_backward_nor_gradient_the_keys(flat, run_info):
    moco = MoCo(flat, run_info, layers=2, **OPTIONS)
    moco(Batch(images(), INDICES)).loss.backward()
    assert all(p.grad is None for p in moco.key_projector.parameters())
    assert all(p.grad.isfinite().all() for p in moco.projector.parameters())


@pytest.mark.parametrize("steps", [1, 5])
def test_it_goes_on_from_its_state(flat, run_info, steps):
    moco, other = (MoCo(flat, run_info, **OPTIONS) for _ in range(2))
    for _ in range(steps):
        moco(Batch(images(), INDICES))
    other.load_state_dict(moco.state_dict())
    for _ in range(3):
        views = images()
        assert torch.equal(moco(Batch(views, INDICES)).loss, other(Batch(views, INDICES)).loss)
    assert torch.equal(moco.queue.keys, other.queue.keys)


def network(gray):
    return TimmBackbone(gray, name="resnet18", width=0.125, options={"layers": [1, 1, 1, 1]})


def test_shuffled_keys_come_back_in_order(gray, run_info):
    """In eval mode batch norm does not mix, so the order is all that could differ."""
    moco = MoCo(network(gray), run_info, **OPTIONS).eval()
    view = images()[0]
    straight = F.normalize(moco.key_projector(moco.key_backbone(view)), dim=1)
    for _ in range(3):
        moco.step += 1
        assert_close(moco.keys(view), straight)


def test_shuffling_changes_whom_a_key_is_normalized_with(gray, run_info):
    moco = MoCo(network(gray), run_info, **OPTIONS)
    view, found = images()[0], []
    for _ in range(2):
        moco.step += 1
        found.append(moco.keys(view))
    assert (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("batch_norm", "parts"), [("split", 3), ("synchronized", 0)])
def test_batch_norm_is_over_parts_or_the_whole(gray, run_info, batch_norm, parts):
    moco = MoCo(network(gray), run_info, **{**OPTIONS, "batch_norm": batch_norm})
    split = [m for m in moco.modules() if isinstance(m, SplitBatchNorm)]
    assert bool(split) == bool(parts)
    assert all(m.groups == parts for m in split)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"momentum": 1.5}, r"momentum must be from 0 to 1, got 1\.5"),
        ({"queue_size": 5}, "queue_size must be at least the batch, 6; got 5"),
        ({"parts": 4}, "parts must divide data.batch_size, 6, .* got 4"),
        ({"parts": 6}, "parts must divide .* leave 2 or more samples in each; got 6"),
    ],
)
def test_refuses_settings_that_cannot_be(flat, run_info, options, words):
    with pytest.raises(ValueError, match=words):
        MoCo(flat, run_info, **{**OPTIONS, **options})


def test_three_views_and_a_batch_of_one_are_refused(flat, run_info):
    with pytest.raises(ValueError, match=r"set crops\.views to 2: .* got 3"):
        MoCo(flat, run_info, **OPTIONS)(Batch([torch.randn(6, 1, 8, 8)] * 3, INDICES))
    with pytest.raises(ValueError, match=r"data\.batch_size must be at least 2"):
        MoCo(flat, RunInfo(num_instances=5, batch_size=1, num_batches=1), **OPTIONS)


@pytest.mark.parametrize(
    ("batch", "parts", "words", "options"),
    [
        (6, 4, "got 4: set it to 3$", {"parts": 3}),
        (9, 4, "got 4: set it to 3, or data.batch_size to 8$", {"parts": 3}),
        (9, 4, "got 4: set it to 3, or data.batch_size to 8$", {"batch_size": 8}),
        (7, 8, "got 8: set it to 1$", {"parts": 1}),
    ],
)
def test_the_parts_that_are_named_work(flat, batch, parts, words, options):
    def build(batch_size, parts):
        run_info = RunInfo(num_instances=20, batch_size=batch_size, num_batches=10)
        return MoCo(flat, run_info, queue_size=20, output_dim=5, parts=parts)

    with pytest.raises(ValueError, match=words):
        build(batch, parts)
    sizes = {"batch_size": batch, "parts": parts} | options
    rows = sizes["batch_size"]
    views = list(torch.randn(2, rows, 1, 8, 8))
    assert build(**sizes)(Batch(views, torch.arange(rows))).loss.isfinite()
