"""What pretraining and fine-tuning build alike."""

from functools import partial
from pathlib import Path

import pytest
import torch
from launching import Command
from torch import nn

from ssl_dml.augment import Auto
from ssl_dml.backbones import Chunked, TimmBackbone
from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import parse
from ssl_dml.data import DataConfig
from ssl_dml.methods import MoCo, RunInfo
from ssl_dml.training import (
    Pretrainer,
    RunConfig,
    TrainConfig,
    in_chunks,
    make_optimizer,
    place,
)
from ssl_dml.types import ConfigError

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def test_chunks_are_made_where_a_size_is_given_and_said_where_inexact(gray, capsys):
    backbone = TimmBackbone(gray, **RESNET)
    assert in_chunks(backbone, None) is backbone
    assert capsys.readouterr().out == ""
    chunked = in_chunks(backbone, 4)
    assert isinstance(chunked, Chunked)
    assert "train.encode_chunk 4: the backbone's batch norm" in capsys.readouterr().out


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_the_learning_rate_follows_the_batch_and_each_parameters_scale(rule, factor):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    config = RunConfig(
        output_dir=Path("unused"),
        data=DataConfig(source="fashion_mini", batch_size=512),
        augment=Auto,
        backbone=partial(TimmBackbone, **RESNET),
        optimizer=partial(torch.optim.SGD, lr=0.1, weight_decay=0.01),
        train=TrainConfig(steps=10, lr_scaling=rule, accumulation=2),
    )
    plan = config.train.plan(5)
    scales = dict.fromkeys(model[1].parameters(), 3.0)
    optimizer, scheduler = make_optimizer(model, config, plan, scales)
    found = {p: g for g in optimizer.param_groups for p in g["params"]}
    assert found[model[0].weight]["lr"] == pytest.approx(0.1 * factor)
    assert found[model[1].weight]["lr"] == pytest.approx(0.3 * factor)
    assert found[model[0].bias]["weight_decay"] == 0.0
    assert found[model[0].weight]["weight_decay"] == 0.01
    for _ in range(plan.steps):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == [0.0] * len(optimizer.param_groups)


@pytest.mark.parametrize(
    ("optimizer", "line"),
    [
        ("{class_path: torch.optim.LBFGS}", "optimizer: LBFGS doesn't support per-parameter"),
        ("{class_path: torch.optim.SparseAdam}", "optimizer: SparseAdam cannot make a step"),
        ("{class_path: torch.optim.SGD, init_args: {lr: -1}}", "optimizer: Invalid learning rate"),
        ("{class_path: torch.optim.Muon}", "optimizer: Muon only supports 2D parameters"),
    ],
)
def test_an_optimizer_that_cannot_train_is_told_before(optimizer, line, tmp_path):
    args = ["--config=default", f"--output_dir={tmp_path}", f"--optimizer={optimizer}"]
    config, _ = parse(PretrainConfig, args, kind="pretrain")
    with pytest.raises(ConfigError, match=line):
        make_optimizer(nn.Linear(3, 4), config, config.train.plan(5))


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adagrad", "RMSprop", "Rprop", "NAdam"])
def test_the_trial_of_an_optimizer_lets_others_pass(name, tmp_path):
    args = ["--config=default", f"--output_dir={tmp_path}", f"--optimizer=torch.optim.{name}"]
    config, _ = parse(PretrainConfig, args, kind="pretrain")
    make_optimizer(nn.Linear(3, 4), config, config.train.plan(5))


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("method.init_args.layers=0", "method: layers must be at least 1, got 0"),
        ("method.init_args.output_dim=-1", "method: output_dim must be at least 1, got -1"),
    ],
)
def test_a_component_tells_by_its_key_why_it_cannot_be_built(key, line, tmp_path, gray):
    config, _ = parse(
        PretrainConfig,
        ["--config=default", f"--output_dir={tmp_path}", f"--{key}"],
        kind="pretrain",
    )
    run_info = RunInfo(num_instances=8, batch_size=4, num_batches=2, labeled=False)
    with pytest.raises(ConfigError, match=line):
        config.method(TimmBackbone(gray, **RESNET), run_info)


def test_a_network_of_no_layers_is_refused(gray):
    for layers in ([], [0, 1, 1, 1], 0):
        with pytest.raises(ConfigError, match=r"backbone\.options\.layers must be 1 or more"):
            TimmBackbone(gray, name="resnet18", options={"layers": layers})


@pytest.mark.parametrize("size", [None, 3])
def test_every_encoder_is_to_be_compiled_and_keeps_its_names(gray, size):
    info = RunInfo(num_instances=24, batch_size=6, num_batches=2)
    model = Pretrainer(
        MoCo(in_chunks(TimmBackbone(gray, **RESNET), size), info, queue_size=24, parts=3)
    )
    names = [*model.state_dict()]
    place(model, torch.device("cpu"), compiled=True)
    compiled = [name for name, part in model.named_modules() if part._compiled_call_impl]
    inner = ".backbone" if size else ""
    assert compiled == [f"method.backbone{inner}", f"method.key_backbone{inner}"]
    assert [*model.state_dict()] == names


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_compiled_encoders_compute_the_same_without_a_break(backend):
    command = Command(Path(__file__).with_name("compiled.py"), backend)
    out, errors = command.communicate(timeout=900)
    assert command.returncode == 0, errors
    assert out.splitlines()[-1] == "done"
