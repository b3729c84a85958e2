"""Every configuration in the tree is complete and builds what it names."""

from pathlib import Path

import pytest
import torch

from ssl_dml.backbones import initial
from ssl_dml.commands.evaluate import FUNCTIONS, EvaluateConfig
from ssl_dml.commands.finetune import FinetuneConfig
from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import component, fill, parse
from ssl_dml.methods import RunInfo
from ssl_dml.types import Batch, ImageSpec, SequenceSpec

ROOT = Path(__file__).parents[1]
PRETRAIN = sorted((ROOT / "configs/pretrain").glob("*.yaml"))
FINETUNE = sorted((ROOT / "configs/finetune").glob("*.yaml"))
EVALUATE = sorted((ROOT / "configs/evaluate").glob("*.yaml"))


@pytest.mark.parametrize("path", PRETRAIN, ids=lambda path: path.stem)
def test_pretraining(path):
    config, values = parse(PretrainConfig, [], default=path)
    if config.data.sequences is not None:
        spec = SequenceSpec(channels=1, length=16000, mean=(0.0,), std=(0.1,), sampling_rate=16000)
        stored = torch.zeros(16, 1, 16000, dtype=torch.int16)
    else:
        channels, size = (1, 28) if config.data.source in ("fashion_mini", "hangul") else (3, 32)
        size = 128 if "patch16" in str(values) else size  # views of 112 are 7 patches a side
        mean, std = (0.5,) * channels, (0.2,) * channels
        spec = ImageSpec(channels=channels, size=size, mean=mean, std=std)
        stored = torch.zeros(16, channels, size, size, dtype=torch.uint8)
    run_info = RunInfo(
        num_instances=64,
        batch_size=config.data.batch_size,
        num_batches=10,
        labeled=True,
    )
    method = config.method(config.backbone(spec), run_info)
    views = config.augment(spec)(stored)
    batch = Batch(views, torch.arange(16), torch.arange(16) % 5)
    assert method(batch).loss.isfinite()
    assert path.read_text().startswith("# "), "its first comment states the result and the cost"
    assert fill(PretrainConfig, values).train == config.train


@pytest.mark.parametrize("path", FINETUNE, ids=lambda path: path.stem)
def test_fine_tuning(path):
    config, values = parse(FinetuneConfig, [], default=path)
    spec = ImageSpec(channels=1, size=32, mean=(0.5,), std=(0.2,))
    begin = initial(None, *component(values, "backbone"))
    embedder = begin.build(spec, neck=config.neck, dim=config.embedding_dim)
    views = config.augment(spec)(torch.zeros(16, 1, 32, 32, dtype=torch.uint8))
    head = config.head(embedder.feature_dim, 5)
    assert head.continuous == config.labels.continuous
    labels = torch.rand(16, 1) if head.continuous else torch.arange(16) % 5
    assert head(embedder(views[0]), labels).loss.isfinite()
    assert path.read_text().startswith("# "), "its first comment states the result and the cost"


@pytest.mark.parametrize("path", EVALUATE, ids=lambda path: path.stem)
def test_evaluation(path):
    config, values = parse(EvaluateConfig, [], default=path, functions=FUNCTIONS)
    assert values[path.stem]
    assert config.evaluator == path.stem
