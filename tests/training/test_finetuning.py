"""Freezing, learning-rate multipliers and the two phases of fine-tuning."""

import itertools

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from ssl_dml.backbones import Embedder
from ssl_dml.heads import PairHead, ProxyNCA
from ssl_dml.losses import Triplet
from ssl_dml.training import (
    Finetuner,
    FinetuneSettings,
    TrainConfig,
    fit_in_phases,
    parameter_groups,
    warmup_cosine,
)
from ssl_dml.types import Batch, ConfigError

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def finetuner(spec, head=None, neck="linear"):
    arguments = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": RESNET}
    embedder = Embedder(spec, **arguments, neck=neck, dim=4 if neck == "linear" else None)
    return Finetuner(embedder, head or ProxyNCA(4, 3))


def test_each_part_has_its_learning_rate(gray):
    model = finetuner(gray)
    settings = FinetuneSettings(backbone_lr_scale=0.5, layer_decay=0.5, head_lr_scale=7.0)
    scales = settings.lr_scales(model)
    assert {scales[p] for p in model.head.parameters()} == {7.0}
    found = [scales[p] for p in model.embedder.backbone.parameters()]
    assert found == sorted(found)
    assert found[-1] == 0.5
    assert found[0] < 0.1
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"freeze_epochs": -1.0}, r"finetune\.freeze_epochs must be at least 0, got -1\.0"),
        ({"backbone_lr_scale": 0.0}, r"finetune\.backbone_lr_scale must be positive, got 0\.0"),
        ({"head_lr_scale": -2.0}, r"finetune\.head_lr_scale must be positive, got -2\.0"),
        ({"lora_rank": 0}, r"finetune\.lora_rank must be at least 1, got 0"),
        ({"layer_decay": 1.5}, r"finetune\.layer_decay must be above 0 and at most 1, got 1\.5"),
    ],
)
def test_settings_that_cannot_be(options, words):
    with pytest.raises(ConfigError, match=words):
        FinetuneSettings(**options)


def test_adapters_learn_in_place_of_the_backbone(gray):
    settings = FinetuneSettings(lora_rank=2, backbone_lr_scale=0.5)
    settings.check_start("timm:resnet18")
    with pytest.raises(ConfigError, match=r"lora_rank is 2 and would keep random weights"):
        settings.check_start(None)
    model = finetuner(gray, PairHead(16, 3, loss=Triplet()))
    settings.apply(model.embedder.backbone)
    trained = {n for n, p in model.embedder.backbone.named_parameters() if p.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    scales = settings.lr_scales(model)
    assert {scales[p] for p in model.embedder.backbone.parameters() if p.requires_grad} == {0.5}


def test_a_frozen_backbone_must_leave_something_to_train(gray):
    model = finetuner(gray, PairHead(64, 3, loss=Triplet()), neck="none")
    with pytest.raises(ConfigError, match=r"finetune\.freeze_epochs is 1\.0 and leaves nothing"):
        FinetuneSettings(freeze_epochs=1.0).lr_scales(model)
    FinetuneSettings().lr_scales(model)


def test_the_backbone_moves_in_the_second_phase_only(gray):
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    accelerator, model = Accelerator(cpu=True), finetuner(gray)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    scheduler = warmup_cosine(optimizer, steps=4, warmup=0)
    labels = torch.tensor([0, 1, 2, 0])
    batches = (Batch([torch.randn(4, 1, 8, 8)], torch.arange(4), labels) for _ in itertools.count())
    first = next(iter(model.embedder.backbone.parameters()))
    before = first.detach().clone()
    steps = fit_in_phases(
        model, accelerator.prepare_optimizer(optimizer), scheduler, batches,
        frozen=2, start=0, steps=4, config=TrainConfig(steps=4, log_every=100),
        accelerator=accelerator,
    )  # fmt: skip
    seen = [(step, torch.equal(first, before)) for step in steps]
    assert seen == [(1, True), (2, True), (3, False), (4, False)]
