"""Pretrain a backbone: ``accelerate launch scripts/pretrain.py --config FILE``."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone, Chunked, save
from ssl_dml.backbones.chunked import batch_norm_notice
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.config import ConfigError, component, parse, run
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train, make_loader
from ssl_dml.data.dataset import check_batch, describe
from ssl_dml.evaluation import (
    ProbeConfig,
    ProbeSplit,
    bank_probe,
    baseline,
    probe,
    probe_split,
)
from ssl_dml.methods import Method, RunInfo
from ssl_dml.reporting import (
    explain_non_finite,
    finish,
    record_probe,
    show_first,
    start_trackers,
    summary,
)
from ssl_dml.training import (
    Checkpoints,
    TrainConfig,
    fit,
    parameter_groups,
    scale_learning_rate,
    warmup_cosine,
)
from ssl_dml.training.accelerator import make_accelerator
from ssl_dml.training.inputs import batches
from ssl_dml.training.interrupt import Interrupt
from ssl_dml.training.run_folder import config_for, open_run, refuse_existing, write_json
from ssl_dml.types import ImageSpec, NonFiniteError, SequenceSpec

DEFAULT = Path(__file__).parents[1] / "configs" / "pretrain" / "default.yaml"


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A pretraining run.

    Args:
        output_dir: The run folder; it must be new unless the run is resumed.
        data: Which images or sequences.
        augment: Makes views of them.
        backbone: The encoder.
        method: The training objective around it, given what it is told of the run.
        optimizer: Given the parameters; its learning rate is the peak.
        train: How long and how fast.
        evaluation: How the backbone is probed.
        seed: Number that weights, order and draws depend on.
        resume: Go on from the newest checkpoint of the run folder, or begin if there is none.
    """

    output_dir: Path
    data: DataConfig
    augment: Callable[[ImageSpec | SequenceSpec], Augmentation]
    backbone: Callable[[ImageSpec | SequenceSpec], Backbone]
    method: Callable[[Backbone, RunInfo], Method]
    optimizer: Callable[[list[dict[str, Any]]], Optimizer]
    train: TrainConfig
    evaluation: ProbeConfig = field(default_factory=ProbeConfig)
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed must be from 0 to 2147483647, got {self.seed}")


def open_data(
    config: PretrainConfig, say: Callable[[str], Any]
) -> tuple[SampleSet, ProbeSplit | None, dict[str, Any]]:
    """The samples to train on, the probe's split if there are labels, and metadata."""
    train = load_train(config.data)
    test = load_test(config.data, train)
    split = probe_split(train, test, max_gallery=config.evaluation.max_gallery)
    about = describe(train, test, config.data.source)
    extent = "x".join(f"{side}" for side in train.decoder.shape[1:])
    extent += " values" if isinstance(train.spec, SequenceSpec) else ""
    say(f"{len(train):,} samples of {extent}, {train.spec.channels} channels")
    if damaged := len(about["damaged"]) + len(about["test_damaged"]):
        say(f"{damaged} damaged samples are left out; data.json names them")
    if isinstance(split, str):
        say(split)
        return train, None, about
    config.evaluation.check(split)
    say(f"probe: {split.description}")
    return train, split, about


def build(
    config: PretrainConfig, train: SampleSet, say: Callable[[str], Any]
) -> tuple[Method, Optimizer, LRScheduler, int]:
    """Method, optimizer and schedule of a run, and how many steps it has."""
    per_epoch = check_batch(config.data, len(train))
    steps = config.train.total_steps(per_epoch)
    warmup = min(config.train.warmup_steps(per_epoch), steps // 2)
    run_info = RunInfo(
        num_instances=len(train),
        batch_size=config.data.batch_size,
        num_batches=steps * config.train.accumulation,
        labeled=train.labels is not None,
    )
    backbone = config.backbone(train.spec)
    if config.train.encode_chunk is not None:
        backbone = Chunked(backbone, config.train.encode_chunk)
        if notice := batch_norm_notice(backbone):
            say(notice)
    method = config.method(backbone, run_info)
    synchronize_batch_norm(method)
    optimizer = config.optimizer(parameter_groups(method))
    batch = config.data.batch_size * config.train.accumulation
    scale_learning_rate(optimizer, batch, config.train.lr_scaling)
    return method, optimizer, warmup_cosine(optimizer, steps=steps, warmup=warmup), steps


def pretrain(config: PretrainConfig, resolved: str) -> int:
    """Go on where the run stopped or begin, train and probe to the last step, save."""
    folder, settings = config.output_dir, config.train
    refuse_existing(folder, resume=config.resume)
    accelerator = make_accelerator(settings, seed=config.seed)
    device, say = accelerator.device, accelerator.print
    train, split, about = open_data(config, say)
    augment = config.augment(train.spec).to(device)
    method, optimizer, scheduler, steps = build(config, train, say)
    model, optimizer = accelerator.prepare(method, optimizer)
    parts = {"model": method, "optimizer": optimizer, "scheduler": scheduler}
    if accelerator.scaler is not None:
        parts["scaler"] = accelerator.scaler

    set_seed(config.seed, device_specific=True)  # from here on every process draws for itself
    checkpoints = Checkpoints(folder / "checkpoints", keep=settings.keep)
    metadata = {
        "data": train.fingerprint,
        "samples": len(train),
        "data.batch_size": config.data.batch_size,
        "train.accumulation": settings.accumulation,
        "seed": config.seed,
    }
    start = checkpoints.resume(parts, metadata, say=say) if config.resume else 0
    if start > steps:
        raise ConfigError(f"train.steps must be at least the {start} already made, got {steps}")
    if accelerator.is_main_process:
        open_run(folder, resolved)
        write_json(folder / "data.json", about)
    per_epoch = check_batch(config.data, len(train)) / settings.accumulation
    start_trackers(accelerator, folder, step=start, steps=steps, steps_per_epoch=per_epoch)
    measure = partial(
        probe, method.backbone, train, split, augment, config=config.evaluation, device=device
    )
    measure_bank = partial(bank_probe, method, split, config=config.evaluation, device=device)
    loader = make_loader(
        train,
        config.data,
        seed=config.seed,
        start=start * settings.accumulation,
        pin_memory=device.type == "cuda",
    )
    inputs = batches(loader, augment, device, train.labels)
    if start == 0:
        accelerator.log({"data/damaged": len(about["damaged"])}, step=0)
        baselines = baseline(split, config=config.evaluation, device=device)
        record_probe(accelerator, 0, {**measure(), **measure_bank(), **baselines})
        inputs = show_first(inputs, train, accelerator)
    every = max(1, round(config.evaluation.every_epochs * per_epoch))
    updates = fit(
        model,
        optimizer,
        scheduler,
        inputs,
        start=start,
        steps=steps,
        config=settings,
        accelerator=accelerator,
    )
    with Interrupt() as interrupt:
        for step in updates:
            stop = interrupt.wanted(step, device) and step < steps
            if step % every == 0 or step == steps:
                record_probe(accelerator, step, {**measure(), **measure_bank()})
            if step % settings.save_every == 0 or step == steps or stop:
                checkpoints.save(step, parts, metadata)
            if stop:
                finish(accelerator)
                say(f"stopped at step {step} of {steps} and saved; to go on: --resume true "
                    f"--output_dir {folder}")  # fmt: skip
                return interrupt.exit_code
    if accelerator.is_main_process:
        trained = {"method": component(resolved, "method")[0], "steps": steps, "data": about}
        save(
            method.backbone, folder / "backbone", *component(resolved, "backbone"), trained=trained
        )
    finish(accelerator)
    say(summary(folder))
    return 0


def main() -> int:
    """Build the parts, go on where the run stopped, train, probe, save."""
    args = sys.argv[1:]
    config, resolved = parse(
        PretrainConfig,
        args,
        default=config_for(args, DEFAULT),
        either=("train.steps", "train.epochs"),
    )
    try:
        return pretrain(config, resolved)
    except NonFiniteError as error:
        raise explain_non_finite(error, config.output_dir) from error


if __name__ == "__main__":
    run(main)
