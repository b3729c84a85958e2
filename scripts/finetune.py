"""Fine-tune an embedding: ``accelerate launch scripts/finetune.py --config FILE --init FOLDER``."""

import sys
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone, Chunked, Embedder, Neck, TimmBackbone, layers, load, save
from ssl_dml.backbones.chunked import batch_norm_notice
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.backbones.saved import METADATA, read_metadata
from ssl_dml.config import ConfigError, component, parse, run
from ssl_dml.data import DataConfig, SampleSet, load_train
from ssl_dml.data.dataset import batches as loader_of
from ssl_dml.data.dataset import decoded_for, describe
from ssl_dml.data.labeled import (
    LabelConfig,
    LabeledBatches,
    LabeledSplit,
    ValidationConfig,
    split_labeled,
)
from ssl_dml.evaluation import validate
from ssl_dml.heads import Head, attach_partial_fc
from ssl_dml.memory import split_rows
from ssl_dml.reporting import (
    explain_non_finite,
    finetune_summary,
    finish,
    record_probe,
    start_trackers,
)
from ssl_dml.training import (
    Best,
    Checkpoints,
    TrainConfig,
    fit,
    layerwise_lr_scales,
    parameter_groups,
    scale_learning_rate,
    warmup_cosine,
)
from ssl_dml.training.accelerator import make_accelerator
from ssl_dml.training.finetuner import Finetuner
from ssl_dml.training.inputs import batches
from ssl_dml.training.interrupt import Interrupt
from ssl_dml.training.run_folder import config_for, open_run, refuse_existing, write_json
from ssl_dml.types import ImageSpec, NonFiniteError, SequenceSpec

DEFAULT = Path(__file__).parents[1] / "configs" / "finetune" / "arcface.yaml"
EMBEDDER = "ssl_dml.backbones.Embedder"


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """How the network starts, and how fast its parts move.

    Args:
        neck: What follows the backbone: none, linear, batch_norm or linear_batch_norm.
        embedding_dim: Dimension of an embedding; null keeps that of the backbone's features.
        frozen_epochs: Passes over the data in which the backbone stays as it is.
        backbone_rate: Factor on the learning rate of the backbone's last layer.
        layer_decay: Factor on the rate from each layer to the one before it, at most 1.
        head_rate: Factor on the learning rate of the head; proxies want more than the network.
    """

    neck: Neck = "linear_batch_norm"
    embedding_dim: int | None = 128
    frozen_epochs: float = 0.0
    backbone_rate: float = 1.0
    layer_decay: float = 1.0
    head_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.frozen_epochs < 0:
            raise ConfigError(f"start.frozen_epochs must not be negative, got {self.frozen_epochs}")
        for name in ("backbone_rate", "layer_decay", "head_rate"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"start.{name} must be positive, got {getattr(self, name)}")
        if self.layer_decay > 1:
            raise ConfigError(f"start.layer_decay must be at most 1, got {self.layer_decay}")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """A fine-tuning run.

    Args:
        output_dir: The run folder; it must be new unless the run is resumed.
        data: Which images or sequences; they need labels.
        augment: Makes views of them.
        backbone: The encoder, unless ``init`` is a folder that names one.
        head: The objective, given the dimension of an embedding and the number of classes.
        optimizer: Given the parameters; its learning rate is the peak.
        train: How long and how fast.
        init: The ``backbone`` folder of a run, or a file of weights of timm for the encoder;
            null starts from random weights.
        start: Neck, freezing and rates.
        labels: How labels are used.
        validation: What is held out.
        seed: Number that weights, order and draws depend on.
        resume: Go on from the newest checkpoint of the run folder, or begin if there is none.
    """

    output_dir: Path
    data: DataConfig
    augment: Callable[[ImageSpec | SequenceSpec], Augmentation]
    backbone: Callable[[ImageSpec | SequenceSpec], Backbone]
    head: Callable[[int, int], Head]
    optimizer: Callable[[list[dict[str, Any]]], Optimizer]
    train: TrainConfig
    init: Path | None = None
    start: StartConfig = field(default_factory=StartConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed must be from 0 to 2147483647, got {self.seed}")
        if self.init is not None and not self.init.exists():
            raise ConfigError(f"init {str(self.init)!r}: there is no such file or folder")


def open_data(
    config: FinetuneConfig, say: Callable[[str], Any]
) -> tuple[SampleSet, LabeledSplit, dict[str, Any]]:
    """The samples, how they are divided, and metadata; said aloud."""
    data = config.data
    if config.init is not None and config.init.is_dir():
        inputs = read_metadata(config.init)["inputs"]
        data = decoded_for(data, inputs)
        for name in ("channels", "image_size", "mean", "std"):
            given = getattr(config.data, name)
            theirs = getattr(inputs, name.removeprefix("image_"), None)
            if given not in (None, theirs):
                raise ConfigError(
                    f"data.{name} is {given}, and the backbone of init {str(config.init)!r} is for "
                    f"{theirs}; leave it out"
                )
    train = load_train(data)
    rows = split_labeled(train, config.labels, config.validation, seed=config.seed)
    trained = int((rows.labels >= 0).sum())
    kinds = "labels" if config.labels.continuous else "classes"
    say(f"{trained:,} samples of {rows.num_classes:,} {kinds} to train on")
    if len(rows.queries):
        among = "one another" if rows.gallery is None else f"{len(rows.gallery):,} trained on"
        say(f"validation: {len(rows.queries):,} samples held out, searched among {among}")
    return train, rows, describe(train, None, config.data.source)


def build_embedder(
    config: FinetuneConfig, resolved: str, train: SampleSet, say: Callable[[str], Any]
) -> tuple[Embedder, dict[str, Any]]:
    """Backbone and neck with the weights they start from, and the arguments that build them."""
    class_path, init_args = component(resolved, "backbone")
    inputs = train.spec
    folder = config.init if config.init is not None and config.init.is_dir() else None
    if folder is not None:
        metadata = read_metadata(folder)
        class_path, init_args, inputs = (metadata[k] for k in ("class_path", "init_args", "inputs"))
    arguments = {
        "class_path": class_path,
        "init_args": init_args,
        "neck": config.start.neck,
        "dim": config.start.embedding_dim,
    }
    try:
        embedder = Embedder(inputs, **arguments)
    except ValueError as error:
        if not str(error).startswith("dim "):
            raise
        raise ConfigError(f"start.embedding_{error}") from error
    if folder is not None:
        embedder.backbone.load_state_dict(load(folder).state_dict())
    elif config.init is not None:
        if not isinstance(embedder.backbone, TimmBackbone):
            raise ConfigError(
                f"init {str(config.init)!r} is a file, which is for a network of timm, and the "
                f"backbone is {class_path}; name a folder with a {METADATA}"
            )
        embedder.backbone.load_weights(config.init)
    if config.train.encode_chunk is not None:
        embedder.backbone = Chunked(embedder.backbone, config.train.encode_chunk)
        if notice := batch_norm_notice(embedder.backbone):
            say(notice)
    if config.data.batch_size == 1 and any(isinstance(m, _BatchNorm) for m in embedder.modules()):
        raise ConfigError("data.batch_size must be at least 2 for a network with batch norm, got 1")
    return embedder, arguments


def build(
    config: FinetuneConfig, embedder: Embedder, rows: LabeledSplit, per_epoch: int
) -> tuple[Finetuner, Optimizer, LRScheduler, int]:
    """Network, optimizer and schedule of a run, and how many steps it has."""
    head = config.head(embedder.feature_dim, rows.num_classes)
    if head.continuous != config.labels.continuous:
        wants, given = ("numbers", "false") if head.continuous else ("classes", "true")
        raise ConfigError(
            f"head {type(head).__name__} is for {wants}, and labels.continuous is {given}"
        )
    model = Finetuner(embedder, head)
    model.freeze(config.start.frozen_epochs > 0)
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError(
            f"start.frozen_epochs is {config.start.frozen_epochs} and leaves nothing to train: "
            f"start.neck is none and head {type(head).__name__} has no weights"
        )
    model.freeze(False)
    synchronize_batch_norm(model)
    steps = config.train.total_steps(per_epoch)
    warmup = min(config.train.warmup_steps(per_epoch), steps // 2)
    rates = layerwise_lr_scales(
        layers(embedder.backbone), rate=config.start.backbone_rate, decay=config.start.layer_decay
    )
    rates |= dict.fromkeys(head.parameters(), config.start.head_rate)
    optimizer = config.optimizer(parameter_groups(model, rates))
    batch = config.data.batch_size * config.train.accumulation
    scale_learning_rate(optimizer, batch, config.train.lr_scaling)
    attach_partial_fc(model, optimizer)
    return model, optimizer, warmup_cosine(optimizer, steps=steps, warmup=warmup), steps


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Measures an embedding model on what is held out, and saves it, the best one too."""

    config: FinetuneConfig
    embedder: Embedder
    about: dict[str, Any]  # what is saved of the run
    arguments: dict[str, Any]  # what builds the embedder
    train: SampleSet
    rows: LabeledSplit
    accelerator: Accelerator
    best: Best

    def measure(self, step: int) -> None:
        """Log retrieval among the held-out samples; keep the model if it is the best so far."""
        if not len(self.rows.queries):
            return
        rows, device = self.rows, self.accelerator.device
        found = validate(
            self.embedder,
            self.train,
            rows.queries,
            rows.gallery,
            label_values=rows.numbers,
            device=device,
        )
        record_probe(self.accelerator, step, found)
        if self.accelerator.is_main_process and self.best.improved(found, step):
            self.save("best", step)

    def save(self, name: str, step: int) -> None:
        """Write the model into a folder of the run."""
        if self.accelerator.is_main_process:
            trained = {**self.about, "steps": step}
            place = self.config.output_dir / name
            save(self.embedder, place, EMBEDDER, self.arguments, trained=trained)


def updates(
    accelerator: Accelerator,
    model: Finetuner,
    *,
    frozen: int,
    start: int,
    steps: int,
    **rest: Any,  # noqa: ANN401 - what the loop takes besides
) -> Iterator[int]:
    """Steps with the backbone held, then steps with all; DDP is built anew between them."""
    for end, hold in ((min(frozen, steps), True), (steps, False)):
        if start < end:
            model.freeze(hold)
            # A copy, of the same parts, since accelerate prepares no module a second time.
            prepared = accelerator.prepare_model(
                copy(model), evaluation_mode=not model.shares_gradients
            )
            yield from fit(prepared, start=start, steps=end, accelerator=accelerator, **rest)
            start = end


def scaler_of(accelerator: Accelerator, model: Finetuner) -> dict[str, Any]:
    """What scales the loss in fp16, for a checkpoint."""
    if accelerator.scaler is None:
        return {}
    if split_rows(model):
        raise ConfigError(
            "train.precision fp16 is not for class weights that are split over processes, as one "
            "alone may overflow; use bf16, or sharded: false"
        )
    return {"scaler": accelerator.scaler}


def finetune(config: FinetuneConfig, resolved: str) -> int:
    """Go on where the run stopped or begin, train and validate to the last step, save."""
    folder, settings = config.output_dir, config.train
    refuse_existing(folder, resume=config.resume)
    accelerator = make_accelerator(settings, seed=config.seed)
    device, say = accelerator.device, accelerator.print
    train, rows, about = open_data(config, say)
    cut = {"batch_size": config.data.batch_size, "seed": config.seed}
    per_epoch = LabeledBatches(rows, config.labels, **cut).per_epoch
    embedder, arguments = build_embedder(config, resolved, train, say)
    augment = config.augment(embedder.inputs).to(device)
    model, optimizer, scheduler, steps = build(config, embedder, rows, per_epoch)
    model.to(device)
    optimizer = accelerator.prepare_optimizer(optimizer)
    numbers = rows.numbers is not None
    best = Best("label_distance_at_1" if numbers else "recall_at_1", lowest=numbers)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "best": best}
    parts |= scaler_of(accelerator, model)

    set_seed(config.seed, device_specific=True)  # from here on every process draws for itself
    checkpoints = Checkpoints(folder / "checkpoints", keep=settings.keep)
    metadata = {
        "data": train.fingerprint,
        "classes": rows.num_classes,
        "labels and what is held out": rows.fingerprint,
        "data.batch_size": config.data.batch_size,
        "train.accumulation": settings.accumulation,
        "seed": config.seed,
    }
    start = checkpoints.resume(parts, metadata, say=say) if config.resume else 0
    if start > steps:
        raise ConfigError(f"train.steps must be at least the {start} already made, got {steps}")
    if accelerator.is_main_process:
        open_run(folder, resolved)
        write_json(folder / "data.json", {**about, "classes": rows.num_classes})
    steps_per_epoch = per_epoch / settings.accumulation
    start_trackers(accelerator, folder, step=start, steps=steps, steps_per_epoch=steps_per_epoch)
    order = LabeledBatches(rows, config.labels, **cut, start=start * settings.accumulation)
    loader = loader_of(train, order, workers=config.data.workers, pin_memory=device.type == "cuda")
    keeper = Keeper(
        config=config,
        embedder=embedder,
        about={"head": component(resolved, "head")[0], "data": about},
        arguments=arguments,
        train=train,
        rows=rows,
        accelerator=accelerator,
        best=best,
    )
    if start == 0:
        keeper.measure(0)
    every = max(1, round(config.validation.every_epochs * steps_per_epoch))
    training = updates(
        accelerator,
        model,
        frozen=round(config.start.frozen_epochs * steps_per_epoch),
        start=start,
        steps=steps,
        optimizer=optimizer,
        scheduler=scheduler,
        batches=batches(loader, augment, device, rows.given),
        config=settings,
    )
    with Interrupt() as interrupt:
        for step in training:
            stop = interrupt.wanted(step, device) and step < steps
            if step % every == 0 or step == steps:
                keeper.measure(step)
            if step % settings.save_every == 0 or step == steps or stop:
                checkpoints.save(step, parts, metadata)
            if stop:
                finish(accelerator)
                say(f"stopped at step {step} of {steps} and saved; to go on: --resume true "
                    f"--output_dir {folder}")  # fmt: skip
                return interrupt.exit_code
    keeper.save("backbone", steps)
    finish(accelerator)
    say(finetune_summary(folder))
    return 0


def main() -> int:
    """Build the parts, go on where the run stopped, train, validate, save."""
    args = sys.argv[1:]
    config, resolved = parse(
        FinetuneConfig,
        args,
        default=config_for(args, DEFAULT),
        either=("train.steps", "train.epochs"),
    )
    try:
        return finetune(config, resolved)
    except NonFiniteError as error:
        raise explain_non_finite(error, config.output_dir) from error


if __name__ == "__main__":
    run(main)
