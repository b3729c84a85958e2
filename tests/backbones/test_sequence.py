import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import SequenceBackbone
from ssl_dml.methods import CPC
from ssl_dml.methods.base import RunInfo
from ssl_dml.types import Batch, SequenceSpec

SPEC = SequenceSpec(channels=2, length=200, mean=(0.0, 0.0), std=(1.0, 1.0))


def build(context="gru", **arguments):
    arguments = {"strides": [3, 2], "kernels": [6, 5], "width": 8, "context_dim": 8} | arguments
    return SequenceBackbone(SPEC, context=context, **arguments).eval()


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_one_latent_every_hop_and_one_feature_a_sequence(context):
    backbone = build(context, width=10, context_dim=16)
    samples = torch.randn(4, 2, 65)
    assert backbone.hop == 6
    assert backbone.latents(samples).shape == (4, 10, backbone.latent_dim) == (4, 10, 10)
    assert backbone(samples).shape == (4, backbone.feature_dim) == (4, 16)
    assert_close(backbone(samples), backbone.context(backbone.latents(samples)).mean(dim=1))


def test_the_default_takes_160_values_a_latent():
    backbone = SequenceBackbone(SPEC)
    assert backbone.latents(torch.randn(1, 2, 20_480)).shape == (1, 128, 256)


@pytest.mark.parametrize("context", ["gru", "transformer"])
@pytest.mark.parametrize("time", [0, 3, 8])
def test_later_values_leave_latents_and_context_as_they_are_to_the_bit(context, time):
    backbone = build(context).train()
    samples = torch.randn(3, 2, 60)
    before = backbone.latents(samples)
    context_before = backbone.context(before)
    start = (time + 1) * backbone.hop
    samples[:, :, start:] = 1e4 * torch.randn(3, 2, 60 - start)
    after = backbone.latents(samples)
    assert torch.equal(after[:, : time + 1], before[:, : time + 1])
    assert torch.equal(backbone.context(after)[:, : time + 1], context_before[:, : time + 1])
    assert not torch.equal(after[:, time + 1 :], before[:, time + 1 :])


def test_a_latent_sees_the_last_value_before_its_end():
    backbone = build().double()
    samples = torch.randn(1, 2, 60, dtype=torch.float64, requires_grad=True)
    backbone.latents(samples)[0, 4].pow(3).sum().backward()
    reached = (samples.grad[0].abs().sum(dim=0) > 0).nonzero()[:, 0]
    # Five latents of the first layer, and the six values that each of them takes in.
    assert (reached.min().item(), reached.max().item()) == (12, 29)


def test_no_norm_leaks_over_time_or_samples():
    """Each latent is the same when all that it does not take in is left out."""
    backbone = build().double().train()
    samples = torch.randn(4, 2, 120, dtype=torch.float64)
    whole = backbone.latents(samples)
    # The 18 values a latent takes in start at a hop; one hop more makes up for the padding.
    for time in (4, 11, 19):
        part = samples[2:3, :, (time - 3) * 6 : (time + 1) * 6]
        assert_close(backbone.latents(part)[0, -1], whole[2, time])


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_samples_do_not_mix(context):
    backbone = build(context).double().train()
    samples = torch.randn(4, 2, 60, dtype=torch.float64)
    assert_close(backbone(samples[1:2]), backbone(samples)[1:2])


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_bf16_is_close(context):
    backbone, samples = build(context), torch.randn(4, 2, 60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = backbone(samples)
    assert_close(features.float(), backbone(samples), rtol=0.1, atol=0.1)


def test_sequences_shorter_than_a_latent_are_refused():
    with pytest.raises(ValueError, match="sequences of 5 values are shorter than one latent of 6"):
        build()(torch.randn(1, 2, 5))


@pytest.mark.parametrize("kernels", [[6], [6, 1], []])
def test_kernels_that_do_not_fit_strides_are_refused(kernels):
    with pytest.raises(ValueError, match=r"kernels needs one value for each stride.* for \[3, 2\]"):
        build(kernels=kernels)


def test_images_are_refused(gray):
    with pytest.raises(ValueError, match=r"is for sequences; .*TimmBackbone"):
        SequenceBackbone(gray)


@pytest.mark.parametrize("pool", ["mean", "last", "statistics"])
def test_pooling_is_that_of_the_sequence_without_its_padding(pool):
    backbone = build(pool=pool)
    samples = torch.randn(3, 2, 60)
    contexts = backbone.context(backbone.latents(samples))
    expected = {
        "mean": contexts.mean(1),
        "last": contexts[:, -1],
        "statistics": torch.cat([contexts.mean(1), contexts.std(1, correction=0)], 1),
    }[pool]
    assert expected.shape[1] == backbone.feature_dim
    assert_close(backbone(samples), expected)
    assert_close(backbone(torch.nn.functional.pad(samples, (0, 47), value=-0.3)), expected)
    backbone(torch.zeros(2, 2, 60)).sum().backward()  # constant: no deviation
    assert all(p.grad.isfinite().all() for p in backbone.parameters() if p.grad is not None)


def test_parts_of_the_time_are_side_by_side():
    backbone = build(pool="statistics", parts=3)
    samples = torch.randn(3, 2, 60)
    contexts = backbone.context(backbone.latents(samples)).detach().numpy()
    steps, found = contexts.shape[1], backbone(samples)
    expected = []
    for part in range(3):
        own = contexts[:, steps * part // 3 : math.ceil(steps * (part + 1) / 3)]
        expected += [own.mean(1), own.std(1)]
    expected = torch.from_numpy(np.concatenate(expected, axis=1))
    assert expected.shape[1] == backbone.feature_dim
    assert_close(found.detach(), expected, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="pool last has no parts, got 2"):
        build(pool="last", parts=2)


def test_cpc_predicts_from_contexts_whatever_the_pooling():
    run_info = RunInfo(num_instances=8, batch_size=4, num_batches=2)
    method = CPC(build(pool="statistics"), run_info, horizon=1)
    assert method(Batch([torch.randn(4, 2, 60)], torch.arange(4))).loss.isfinite()
