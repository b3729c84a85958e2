"""Every configuration in the tree is complete and builds what it names."""

import sys
from pathlib import Path

import pytest
import torch

from ssl_dml.config import parse
from ssl_dml.methods import Task
from ssl_dml.types import ImageSpec, SequenceSpec

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
PRETRAIN = sorted((ROOT / "configs/pretrain").glob("*.yaml"))
EVALUATE = sorted((ROOT / "configs/evaluate").glob("*.yaml"))


def example(data):
    """What such data look like, and four samples of them."""
    if data.sequences is not None:
        length, rate = data.sequences.length or 32_000, data.sequences.rate
        spec = SequenceSpec(channels=1, length=length, mean=(0.0,), std=(0.1,), rate=rate)
        return spec, torch.randint(-9000, 9000, (4, 1, length), dtype=torch.int16)
    channels, size = (1, 28) if data.source in ("fashion_mini", "hangul") else (3, 32)
    spec = ImageSpec(channels=channels, size=size, mean=(0.5,) * channels, std=(0.2,) * channels)
    return spec, torch.zeros(4, channels, size, size, dtype=torch.uint8)


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_pretraining(path):
    from pretrain import PretrainConfig

    config, resolved = parse(PretrainConfig, [], default=path)
    spec, samples = example(config.data)
    task = Task(num_instances=64, batch_size=4, num_batches=10, labels=torch.arange(64) % 5)
    method = config.method(config.backbone(spec), task)
    views = config.augment(spec)(samples)
    assert method(views, torch.arange(4)).loss.isfinite()
    assert path.read_text().startswith("# "), "its first comment states the result and the cost"
    again = path.with_name("again.yaml")
    assert not again.exists()
    assert resolved


@pytest.mark.parametrize("path", EVALUATE, ids=lambda path: path.stem)
def test_evaluation(path):
    from evaluate import EvaluateConfig

    config, _ = parse(EvaluateConfig, [], default=path)
    assert config.evaluator == path.stem
