"""Pretrain a backbone: ``accelerate launch scripts/pretrain.py --config configs/pretrain/x.yaml``."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from torch.optim import Optimizer
from tqdm import tqdm

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone, save
from ssl_dml.backbones.norms import synchronise_batch_norm
from ssl_dml.config import component, parse, run
from ssl_dml.data import DataConfig, load_images, load_test_images, make_loader
from ssl_dml.data.images import check_batch, describe
from ssl_dml.evaluation import (
    ProbeConfig,
    collapse_warning,
    pixel_reference,
    probe,
    probe_split,
)
from ssl_dml.methods import Method
from ssl_dml.reporting import finish, show_first, start_trackers, summary
from ssl_dml.training import (
    Checkpoints,
    TrainConfig,
    fit,
    parameter_groups,
    scale_learning_rate,
    warmup_cosine,
)
from ssl_dml.training.hardware import make_accelerator
from ssl_dml.training.inputs import view_batches
from ssl_dml.training.interrupt import Interrupt
from ssl_dml.training.run_folder import config_for, open_run, refuse_existing, write_json
from ssl_dml.types import ImageSpec

DEFAULT = Path(__file__).parents[1] / "configs" / "pretrain" / "default.yaml"


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A pretraining run.

    Args:
        output_dir: The run folder; it must be new unless the run is resumed.
        data: Which pictures.
        augment: Makes views of them.
        backbone: The encoder.
        method: The training objective around it, given the number of pictures.
        optimizer: Given the parameters; its learning rate is the peak.
        train: How long and how fast.
        evaluation: How the backbone is probed.
        seed: Number that weights, order and draws depend on.
        resume: Go on from the newest checkpoint of the run folder, or begin if there is none.
    """

    output_dir: Path
    data: DataConfig
    augment: Callable[[ImageSpec], Augmentation]
    backbone: Callable[[ImageSpec], Backbone]
    method: Callable[[Backbone, int], Method]
    optimizer: Callable[[list[dict[str, Any]]], Optimizer]
    train: TrainConfig
    evaluation: ProbeConfig = ProbeConfig()
    seed: int = 0
    resume: bool = False


def pretrain(config: PretrainConfig, resolved: str) -> int:
    """Build the parts, go on where the run stopped, train, probe, save."""
    refuse_existing(config.output_dir, resume=config.resume)
    accelerator = make_accelerator(config.train, seed=config.seed)
    device, say = accelerator.device, accelerator.print
    train = load_images(config.data)
    test = load_test_images(config.data, train)
    split = probe_split(train, test, max_gallery=config.evaluation.max_gallery)
    say(f"{len(train):,} pictures of {config.data.source}, {train.spec.channels} channels, "
        f"{train.spec.size}x{train.spec.size}")  # fmt: skip
    if train.damaged:
        say(f"{len(train.damaged)} damaged pictures are left out; data.json names them")
    say(split if isinstance(split, str) else f"probe: {split.description}")
    split = None if isinstance(split, str) else split

    augment = config.augment(train.spec).to(device)
    method = config.method(config.backbone(train.spec), len(train))
    synchronise_batch_norm(method)
    optimizer = config.optimizer(parameter_groups(method))
    batch, accumulation = config.data.batch_size, config.train.accumulation
    scale_learning_rate(optimizer, batch * accumulation, config.train.lr_scaling)
    per_epoch = check_batch(config.data, len(train))
    steps, warmup = config.train.total_steps(per_epoch), config.train.warmup_steps(per_epoch)
    scheduler = warmup_cosine(optimizer, steps=steps, warmup=warmup)
    model, optimizer = accelerator.prepare(method, optimizer)

    folder = config.output_dir
    checkpoints = Checkpoints(folder / "checkpoints", keep=config.train.keep)
    parts: dict[str, Any] = {"model": method, "optimizer": optimizer, "scheduler": scheduler}
    if accelerator.scaler is not None:
        parts["scaler"] = accelerator.scaler
    facts = {"data": train.fingerprint, "pictures": len(train)}
    if accelerator.is_main_process:
        open_run(folder, resolved)
        write_json(folder / "data.json", describe(train, config.data.source))
    set_seed(config.seed, device_specific=True)
    start = checkpoints.resume(parts, facts, say=say) if config.resume else 0

    every = config.evaluation.every_epochs * per_epoch // accumulation
    start_trackers(
        accelerator, folder, step=start, steps=steps, steps_per_epoch=per_epoch / accumulation
    )

    def measure(step: int, **more: float) -> None:
        found = probe(
            method.backbone, train, split, augment, config=config.evaluation, device=device
        )
        accelerator.log({f"eval/{name}": v for name, v in {**found, **more}.items()}, step=step)
        if found and step and (warning := collapse_warning(found)):
            tqdm.write(warning, file=sys.stderr)

    if start == 0:
        pixels = {} if split is None else {
            "raw_pixels_knn_top1": pixel_reference(split, config=config.evaluation)
        }  # fmt: skip
        measure(0, **pixels)
    loader = make_loader(
        train,
        config.data,
        seed=config.seed,
        start=start * accumulation,
        pin_memory=device.type == "cuda",
    )
    inputs = view_batches(loader, augment, device)
    if start == 0:
        inputs = show_first(inputs, train, accelerator)
    with Interrupt() as interrupt:
        for step in fit(
            model,
            optimizer,
            scheduler,
            inputs,
            start=start,
            steps=steps,
            config=config.train,
            accelerator=accelerator,
        ):
            if step % every == 0 or step == steps:
                measure(step)
            stop = interrupt.wanted(step, device) and step < steps
            if step % config.train.save_every == 0 or step == steps or stop:
                checkpoints.save(step, parts, facts)
            if stop:
                say(f"\nstopped at step {step} of {steps}, saved; go on with --resume true "
                    f"--output_dir {folder}")  # fmt: skip
                return interrupt.exit_code
    if accelerator.is_main_process:
        class_path, init_args = component(resolved, "backbone")
        save(
            method.backbone,
            folder / "backbone",
            class_path=class_path,
            init_args=init_args,
            trained={
                "method": component(resolved, "method")[0],
                "data": describe(train, config.data.source),
                "steps": steps,
                "seed": config.seed,
            },
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
    return pretrain(config, resolved)


if __name__ == "__main__":
    run(main)
