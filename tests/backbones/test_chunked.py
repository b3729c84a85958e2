import copy
from pathlib import Path

import pytest
import torch
from launching import completed
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import Backbone, Chunked, TimmBackbone, load, save
from ssl_dml.backbones.chunked import batch_norm_notice
from ssl_dml.losses import nt_xent
from ssl_dml.types import ImageSpec

SPEC = ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.2,))
BLOCKS = {"layers": [1, 1, 1, 1]}


def resnet(**options):
    return TimmBackbone(SPEC, name="resnet18", width=0.125, options={**BLOCKS, **options})


class Noisy(Backbone):
    """A norm and, where asked for, dropout; counts how often it runs."""

    feature_dim = 6
    inputs = SPEC

    def __init__(self, norm=None, dropout=0.0):
        super().__init__()
        steps = [nn.Conv2d(1, 6, 3), norm or nn.GroupNorm(2, 6), nn.GELU()]
        self.layers = nn.Sequential(*steps, nn.Dropout(dropout), nn.AdaptiveAvgPool2d(1))
        self.runs = []

    def forward(self, samples):
        self.runs.append(len(samples))
        return self.layers(samples).flatten(1)


def step(backbone, samples):
    """Loss and gradients of SimCLR's loss on the two halves."""
    first, second = backbone(samples).chunk(2)
    loss = nt_xent(first, second)
    loss.backward()
    return loss.detach(), [p.grad for p in backbone.parameters()]


@pytest.mark.parametrize("size", [1, 3, 5, 10, 99])
@pytest.mark.parametrize("norm", ["groupnorm1", "layernorm2d"])
def test_loss_and_gradients_are_those_of_the_whole_batch(size, norm):
    whole = resnet(norm_layer=norm).double()
    chunked = Chunked(copy.deepcopy(whole), size)
    samples = torch.randn(10, 1, 8, 8, dtype=torch.float64)
    loss, gradients = step(whole, samples)
    same_loss, same_gradients = step(chunked, samples)
    assert_close(same_loss, loss, rtol=1e-12, atol=0)
    assert_close(same_gradients, gradients, rtol=1e-9, atol=1e-12)


def test_dropout_drops_the_same_the_second_time():
    """The oracle draws chunk by chunk from the same seed, and keeps every activation."""
    plain = Noisy(dropout=0.5).double()
    chunked = Chunked(copy.deepcopy(plain), 4)
    samples = torch.randn(8, 1, 8, 8, dtype=torch.float64)
    torch.manual_seed(7)
    first, second = torch.cat([plain(samples[:4]), plain(samples[4:])]).chunk(2)
    nt_xent(first, second).backward()
    torch.manual_seed(7)
    after = torch.get_rng_state()
    _, gradients = step(chunked, samples)
    assert_close(gradients, [p.grad for p in plain.parameters()], rtol=1e-12, atol=1e-15)
    assert any(g.abs().sum() > 0 for g in gradients)
    assert not torch.equal(torch.get_rng_state(), after)


def test_chunks_are_as_equal_as_can_be():
    chunked = Chunked(Noisy(), 4)
    chunked(torch.randn(9, 1, 8, 8))
    assert chunked.backbone.runs == [3, 3, 3]


def test_running_statistics_count_a_sample_once():
    chunked = Chunked(Noisy(nn.BatchNorm2d(6)), 4)
    by_hand = copy.deepcopy(chunked.backbone)
    samples = torch.randn(8, 1, 8, 8)
    chunked(samples).square().sum().backward()
    assert chunked.backbone.runs == [4, 4, 4, 4]
    for chunk in samples.split(4):
        by_hand(chunk)
    assert chunked.backbone.layers[1].num_batches_tracked == 2
    for own, expected in zip(chunked.buffers(), by_hand.buffers(), strict=True):
        assert torch.equal(own, expected)


def test_a_momentum_encoder_is_encoded_once_and_keeps_nothing():
    chunked = Chunked(resnet(), 3).train()
    momentum = copy.deepcopy(chunked)
    assert list(momentum.state_dict()) == list(chunked.backbone.state_dict())
    with torch.no_grad():
        keys = momentum(torch.randn(7, 1, 8, 8))
    assert not keys.requires_grad
    assert momentum.backbone is not chunked.backbone
    counts = [int(b) for n, b in momentum.named_buffers() if n.endswith("num_batches_tracked")]
    assert set(counts) == {3}


def test_its_state_is_that_of_the_backbone(tmp_path):
    plain = resnet()
    chunked = Chunked(resnet(), 3)
    chunked.load_state_dict(plain.state_dict())
    outer = nn.ModuleDict({"backbone": chunked})
    assert list(outer.state_dict()) == [f"backbone.{name}" for name in plain.state_dict()]
    outer.load_state_dict(nn.ModuleDict({"backbone": plain}).state_dict())
    arguments = {"name": "resnet18", "width": 0.125, "options": BLOCKS}
    save(chunked, tmp_path / "b", "ssl_dml.backbones.TimmBackbone", arguments, trained={})
    samples = torch.randn(2, 1, 8, 8)
    assert torch.equal(load(tmp_path / "b")(samples), plain.eval()(samples))
    del (state := plain.state_dict())["network.conv1.weight"]
    with pytest.raises(RuntimeError, match=r"network\.conv1\.weight"):
        chunked.load_state_dict(state)


PEAK = """
import sys, torch
from ssl_dml.backbones import Chunked, TimmBackbone
from benchmarks.memory import PeakMemory
from ssl_dml.types import ImageSpec
torch.set_num_threads(1)
spec = ImageSpec(channels=1, size=28, mean=(0.5,), std=(0.2,))
options = {"layers": [1, 1, 1, 1], "norm_layer": "groupnorm1"}
network = TimmBackbone(spec, name="resnet18", width=0.25, options=options)
backbone = Chunked(network, int(sys.argv[2]))
step = lambda rows: backbone(torch.zeros(rows, 1, 28, 28)).square().sum().backward()
step(8)
with PeakMemory(torch.device("cpu")) as memory:
    step(int(sys.argv[1]))
print(memory.megabytes)
"""


@pytest.mark.slow
def test_memory_is_that_of_a_chunk(tmp_path):
    """Peak resident memory above the start, in a process of its own, in MiB."""

    scripts = Path(__file__).parents[2] / "scripts"  # where the measure of memory is
    program = tmp_path / "peak.py"
    program.write_text(PEAK)

    def peak(batch, size):
        done = completed(program, batch, size, env={"PYTHONPATH": str(scripts)})
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    whole, chunked = peak(512, 512), peak(512, 32)
    assert chunked < whole / 5, (chunked, whole)


def test_batch_norm_is_said_with_what_would_be_exact():
    assert batch_norm_notice(Chunked(resnet(norm_layer="groupnorm1"), 8)) is None
    notice = batch_norm_notice(Chunked(resnet(), 8))
    assert notice is not None
    assert "train.encode_chunk 8" in notice
    assert "norm_layer: groupnorm1" in notice


def test_refuses_a_size_below_one():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Chunked(resnet(), 0)
