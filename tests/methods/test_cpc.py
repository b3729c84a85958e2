import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import PatchBackbone, SequenceBackbone, TimmBackbone
from ssl_dml.methods import CPC, CPCImages, RunInfo
from ssl_dml.types import Batch, ImageSpec, SequenceSpec

TASK = RunInfo(num_instances=10, batch_size=4, num_batches=10)
ROWS = torch.arange(4)
SOUND = SequenceSpec(channels=1, length=60, mean=(0.0,), std=(1.0,))
IMAGES = ImageSpec(channels=1, size=20, mean=(0.5,), std=(0.25,))
LAYERS = {"layers": [1, 1, 1, 1], "zero_init_last": False}


def sequences(**arguments):
    backbone = SequenceBackbone(SOUND, width=6, strides=[3, 2], kernels=[6, 4], context_dim=8)
    return CPC(backbone, TASK, **{"horizon": 3, **arguments}).double()


def images(**arguments):
    backbone = PatchBackbone(
        IMAGES, patch=8, stride=4, name="resnet18", width=0.125, options=LAYERS
    )
    arguments = {"context_blocks": 1, "context_dim": 8, **arguments}
    return CPCImages(backbone, TASK, **arguments).double()


def cost(prediction, own, others):
    """Cross-entropy of one dot product among others, in Python floats."""
    first, *rest = ((prediction * row).sum().item() for row in [own, *others])
    return -math.log(math.exp(first) / (math.exp(first) + sum(map(math.exp, rest))))


def test_sequences_match_the_definition():
    method, samples = sequences(negatives="both"), torch.randn(4, 1, 60, dtype=torch.float64)
    latents = method.backbone.latents(samples).detach()
    context = method.backbone.context(latents).detach()
    steps = []
    for k, linear in enumerate(method.ahead.maps, start=1):
        costs = []
        for b in range(4):
            for t in range(10 - k):
                others = [latents[a, t + k] for a in range(4) if a != b]
                others += [latents[b, u] for u in range(k, 10) if u != t + k]
                costs.append(cost(linear(context[b, t]), latents[b, t + k], others))
        steps.append(sum(costs) / len(costs))
    loss, logs = method(Batch([samples], ROWS))
    assert_close(loss.item(), sum(steps) / 3)
    assert_close(logs["loss_nearest"].item(), steps[0])
    assert_close(logs["loss_furthest"].item(), steps[2])
    # k steps ahead, 3 other samples and all but k + 1 of 10 positions are negatives
    limit = sum(math.log(1 + 3 + 9 - k) for k in (1, 2, 3)) / 3
    assert_close(logs["mutual_information_limit"].item(), limit)
    assert_close(logs["mutual_information"].item(), limit - loss.item())


def test_images_match_the_definition():
    method = images(negatives="batch", skip=0, horizon=2, directions=2)
    samples = torch.randn(4, 1, 20, 20, dtype=torch.float64)
    grid = method.backbone.grid(samples).detach()
    total = []
    # A quarter turn to the left puts the columns, from the last to the first, in place of rows.
    for turned, context, ahead in zip(
        (grid, grid.flip(2).transpose(1, 2)), method.contexts, method.ahead, strict=True
    ):
        seen = context(turned).detach()
        for k, linear in enumerate(ahead.maps, start=1):
            costs = [
                cost(
                    linear(seen[b, i, j]),
                    turned[b, i + k, j],
                    [turned[a, i + k, j] for a in range(4) if a != b],
                )
                for b in range(4)
                for i in range(4 - k)
                for j in range(4)
            ]
            total.append(sum(costs) / len(costs))
    assert_close(method(Batch([samples], ROWS)).loss.item(), sum(total) / 4)


@pytest.mark.parametrize("direction", range(4))
def test_patches_that_lie_ahead_leave_the_context_as_it_is_to_the_bit(direction):
    method = images(directions=4).float().train()
    samples = torch.randn(4, 1, 20, 20)

    def context():
        turned = method.backbone.grid(samples).rot90(direction, (1, 2))
        return method.contexts[direction](turned)

    before = context()
    # The outer 4 pixels belong to the last row of patches alone, on the side that is predicted.
    side = [(slice(16, 20), slice(None)), (slice(None), slice(0, 4)),
            (slice(0, 4), slice(None)), (slice(None), slice(16, 20))][direction]  # fmt: skip
    samples[:, :, side[0], side[1]] = 100 * torch.rand_like(samples[:, :, side[0], side[1]])
    after = context()
    assert torch.equal(after[:, :3], before[:, :3])
    assert not torch.equal(after[:, 3], before[:, 3])


@pytest.mark.parametrize("build", [sequences, images])
def test_each_view_is_contrasted_by_itself(build):
    method = build()
    shape = (2, 4, 1, 60) if build is sequences else (2, 4, 1, 20, 20)
    first, second = torch.randn(shape, dtype=torch.float64)
    alone = [method(Batch([view], ROWS)).loss for view in (first, second)]
    assert_close(method(Batch([first, second], ROWS)).loss, (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize("build", [sequences, images])
@pytest.mark.parametrize("negatives", ["batch", "sequence", "both"])
def test_every_parameter_learns(build, negatives):
    method = build(negatives=negatives)
    shape = (4, 1, 60) if build is sequences else (4, 1, 20, 20)
    method(Batch([torch.randn(shape, dtype=torch.float64)], ROWS)).loss.backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_sine_is_predicted_from_its_past():
    """Each sequence goes on as it began, so almost every positive is found after some steps."""
    torch.manual_seed(0)
    method = sequences(negatives="batch").float()
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    pace = torch.linspace(0.2, 1.2, 4)[:, None, None]
    for _ in range(150):
        samples = (torch.rand(4, 1, 1) * 6.28 + pace * torch.arange(60.0)).sin()
        loss, logs = method(Batch([samples], ROWS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logs["accuracy"] > 0.8
    assert loss < math.log(4) / 2


def test_equal_scores_are_no_success():
    method = sequences()
    for linear in method.ahead.maps:
        torch.nn.init.zeros_(linear.weight)
    loss, logs = method(Batch([torch.randn(4, 1, 60, dtype=torch.float64)], ROWS))
    assert logs["accuracy"] == 0
    assert_close(loss.item(), sum(math.log(13 - k) for k in (1, 2, 3)) / 3)


def test_sequences_that_end_before_the_horizon_are_refused():
    method = sequences(horizon=10)
    assert method(Batch([torch.randn(4, 1, 66, dtype=torch.float64)], ROWS)).loss.isfinite()
    with pytest.raises(ValueError, match=r"65 values are 10 .*horizon 10: .*window to 66 or more"):
        method(Batch([torch.randn(4, 1, 65, dtype=torch.float64)], ROWS))


def test_grids_that_end_before_the_horizon_are_refused():
    with pytest.raises(ValueError, match=r"a grid of 3 rows is too small for horizon 3: set a sm"):
        images(horizon=3)(Batch([torch.randn(4, 1, 16, 20, dtype=torch.float64)], ROWS))


def test_a_single_position_has_no_negatives_in_its_sequence():
    method = sequences(negatives="sequence", horizon=9)
    with pytest.raises(ValueError, match="a single position has a target 9 ahead; set a smaller"):
        method(Batch([torch.randn(4, 1, 60, dtype=torch.float64)], ROWS))


def test_backbones_of_another_kind_are_refused():
    plain = TimmBackbone(IMAGES, name="resnet18", width=0.125, options=LAYERS)
    with pytest.raises(ValueError, match=r"CPC needs .*Sequence.*, got Timm.*use CPCImages"):
        CPC(plain, TASK)
    with pytest.raises(ValueError, match=r"CPCImages needs .*Patch.*, got Timm.*use CPC"):
        CPCImages(plain, TASK)


@pytest.mark.parametrize(
    ("build", "arguments", "words"),
    [
        (sequences, {"horizon": 0}, "horizon must be at least 1, got 0"),
        (sequences, {"scale": 0.0}, r"scale must be positive, got 0\.0"),
        (images, {"skip": 3}, "skip must be from 0 to below horizon 3, got 3"),
        (images, {"directions": 5}, "directions must be from 1 to 4, got 5"),
        (images, {"directions": 0}, "directions must be from 1 to 4, got 0"),
    ],
)
def test_arguments_are_checked_when_it_is_built(build, arguments, words):
    with pytest.raises(ValueError, match=words):
        build(**arguments)


def test_a_batch_of_one_has_no_negatives_in_the_batch():
    backbone = SequenceBackbone(SOUND, width=6, strides=[3, 2], kernels=[6, 4], context_dim=8)
    run_info = RunInfo(num_instances=10, batch_size=1, num_batches=10)
    with pytest.raises(ValueError, match=r"negatives 'batch' needs 2 samples a batch: set a large"):
        CPC(backbone, run_info, negatives="batch")
    method = CPC(backbone, run_info, negatives="sequence", horizon=3)
    assert method(Batch([torch.randn(1, 1, 60)], ROWS[:1])).loss > 0
