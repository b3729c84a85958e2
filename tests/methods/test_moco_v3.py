import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.backbones import TimmBackbone
from ssl_dml.methods import MoCoV3
from ssl_dml.types import Batch

INDICES = torch.arange(6)
OPTIONS = {"hidden_dim": 16, "output_dim": 5}


def images():
    return list(torch.randn(2, 6, 1, 8, 8))


def test_a_step_is_algorithm_1(flat, run_info):
    method, views = MoCoV3(flat, run_info, temperature=0.3, **OPTIONS), images()
    loss, _ = method(Batch(views, INDICES))
    queries = [F.normalize(method.predictor(method.projector(flat(v))), dim=1) for v in views]
    keys = [F.normalize(method.key_projector(flat(v)), dim=1) for v in views]
    labels = torch.arange(6)
    expected = sum(
        2 * 0.3 * F.cross_entropy(q @ k.T / 0.3, labels)
        for q, k in zip(queries, keys[::-1], strict=True)
    )
    assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is None for p in method.key_projector.parameters())
    assert all(p.grad.isfinite().all() for p in method.predictor.parameters())


def test_momentum_rises_to_one_by_a_cosine(flat, run_info):
    method = MoCoV3(flat, run_info, momentum=0.9, **OPTIONS)
    seen = [method(Batch(images(), INDICES)).logs["momentum"].item() for _ in range(11)]
    expected = [1 - 0.1 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(11)]
    assert_close(seen, expected, rtol=1e-6, atol=1e-6)
    assert seen[-1] == 1


def test_the_follower_moves_by_the_momentum(flat, run_info):
    method = MoCoV3(flat, run_info, momentum=0.6, **OPTIONS)
    with torch.no_grad():
        method.projector[0].weight += 1
    before = method.key_projector[0].weight.clone()
    method(Batch(images(), INDICES))
    assert_close(method.key_projector[0].weight, before + 0.4)


@pytest.mark.parametrize("trained", [False, True])
def test_a_transformers_patch_embedding_stays_as_it_is(gray, run_info, trained):
    options = {"patch_size": 4, "depth": 1, "embed_dim": 24, "num_heads": 2}
    backbone = TimmBackbone(gray, name="vit_tiny_patch16_224", options=options)
    method = MoCoV3(backbone, run_info, train_patch_embedding=trained, **OPTIONS)
    method(Batch(images(), INDICES)).loss.backward()
    patches = [p for n, p in method.backbone.named_parameters() if "patch_embed." in n]
    assert patches
    assert all((p.grad is not None) == trained for p in patches)


def test_it_goes_on_from_its_state(flat, run_info):
    method, other = (MoCoV3(flat, run_info, **OPTIONS) for _ in range(2))
    method(Batch(images(), INDICES))
    other.load_state_dict(method.state_dict())
    views = images()
    ours, theirs = (m(Batch(views, INDICES)) for m in (method, other))
    assert torch.equal(ours.loss, theirs.loss)
    assert ours.logs == theirs.logs


def test_refuses_settings_that_cannot_be(flat, run_info):
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        MoCoV3(flat, run_info, temperature=0.0)
    with pytest.raises(ValueError, match=r"momentum must be from 0 to 1, got -0\.1"):
        MoCoV3(flat, run_info, momentum=-0.1)
    with pytest.raises(ValueError, match=r"set crops\.views to 2"):
        MoCoV3(flat, run_info, **OPTIONS)(Batch(images()[:1], INDICES))
