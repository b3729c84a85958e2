"""Fine-tune an embedding with labels: ``ssl_dml finetune --config NAME --init FOLDER``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_dml.backbones import Embedder, Initial, Neck, initial, save
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.config import component, parse_run
from ssl_dml.data import SampleSet, load_train, make_loader
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.labeled import (
    LabelConfig,
    LabeledBatches,
    LabeledSplit,
    ValidationConfig,
    announce_split,
    split_labeled,
)
from ssl_dml.data.understood import announce, announce_leak, describe
from ssl_dml.distributed import broadcast_object, has_split_weights
from ssl_dml.evaluation import validate
from ssl_dml.evaluation.sketch import sketch_run
from ssl_dml.heads import Head, Nested, attach_partial_fc
from ssl_dml.progress import say
from ssl_dml.reporting import finetune_summary, finish, record_probe, show_first
from ssl_dml.training import (
    Allocations,
    Best,
    Finetuner,
    FinetuneSettings,
    RunConfig,
    batches,
    claim,
    fit_in_phases,
    in_chunks,
    make_accelerator,
    make_optimizer,
    order_run,
    place,
    project,
    start_run,
)
from ssl_dml.types import ConfigError

EMBEDDER = "ssl_dml.backbones.Embedder"


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """A fine-tuning run.

    Args:
        head: The objective, given the dimension of an embedding and the number of classes.
        neck: What follows the backbone: none, linear, batch_norm or linear_batch_norm.
        embedding_dim: Dimension of an embedding; null keeps that of the backbone's features.
        nested: Dimensions of prefixes of the embedding that are trained to be used alone, rising
            to its own, such as [16, 32, 64, 128]; the loss is the sum over them.
        ordered: Turn the embedding at the end such that its first dimensions tell classes apart
            best, and any prefix can be used. Cosines and distances stay as they are; a bit of each
            dimension then keeps less.
        finetune: Freezing, adapters and learning-rate multipliers.
        labels: How labels are used.
        validation: What is held out.
    """

    head: Callable[[int, int], Head]
    neck: Neck = "linear_batch_norm"
    embedding_dim: int | None = 128
    nested: Sequence[int] | None = None
    ordered: bool = False
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    labels: LabelConfig = field(default_factory=LabelConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.finetune.check_start(self.init)
        refused = {"true": self.labels.continuous, self.neck: not self.neck.startswith("linear")}
        for value, wrong in refused.items():
            if self.ordered and wrong:
                name = "labels.continuous" if value == "true" else "neck"
                raise ConfigError(
                    f"ordered needs classes and a neck with a linear map, and {name} is {value}: "
                    "set ordered to false"
                )
        if self.train.ema is not None:
            raise ConfigError(
                f"train.ema is {self.train.ema}, and averages the weights in pretraining only; "
                "set it to null"
            )


def read_data(
    config: FinetuneConfig, begin: Initial
) -> tuple[SampleSet, LabeledSplit, dict[str, Any]]:
    """The samples decoded for the backbone, how they are divided, and what was read."""
    train = load_train(decoded_for(as_published(config.data, begin.preset), begin.inputs))
    rows = split_labeled(train, config.labels, config.validation, seed=config.seed)
    announce(train, None)
    announce_split(rows)
    held, trained = train.digests[rows.queries.numpy()], train.digests[(rows.labels >= 0).numpy()]
    announce_leak(trained, held, "validation")
    return train, rows, describe(train, None, config.data.source) | {"classes": rows.num_classes}


def build(config: FinetuneConfig, begin: Initial, train: SampleSet, num_classes: int) -> Finetuner:
    """The embedding model under its head.

    Raises:
        ConfigError: If head and labels, or batch and batch norm, do not fit.
    """
    embedder = begin.build(train.spec, neck=config.neck, dim=config.embedding_dim)
    if config.data.batch_size == 1 and any(isinstance(m, _BatchNorm) for m in embedder.modules()):
        raise ConfigError("data.batch_size must be at least 2 for a network with batch norm, got 1")
    head = config.head(embedder.feature_dim, num_classes)
    if config.nested is not None:
        nested = partial(Nested, head=config.head, dims=config.nested)
        head = nested(embedder.feature_dim, num_classes)
    if head.continuous != config.labels.continuous:
        wanted, given = ("continuous", "false") if head.continuous else ("class", "true")
        raise ConfigError(
            f"head {type(head).__name__} is for {wanted} labels, and labels.continuous is {given}"
        )
    config.finetune.apply(embedder.backbone)
    embedder.backbone = in_chunks(embedder.backbone, config.train.encode_chunk)
    return Finetuner(embedder, head)


def best_of(rows: LabeledSplit) -> Best:
    """Remembers the best validation: the highest recall, or the lowest label distance."""
    classes = rows.label_values is None
    return Best("recall_at_1" if classes else "label_distance_at_1", lowest=not classes)


def sketched_rows(rows: LabeledSplit) -> tuple[str, Int[Tensor, " rows"]]:
    """What the model's sketch is of, in words and as rows: what new data will be like.

    Held-out samples of the classes that are trained on; where there are none, all labeled samples,
    of the classes that are held out too.
    """
    if rows.gallery is not None:
        return "held-out samples", rows.queries
    trained = (rows.labels >= 0).nonzero()[:, 0]
    return "training samples", torch.cat([trained, rows.queries]).sort().values


def complete(
    config: FinetuneConfig,
    network: Embedder,
    train: SampleSet,
    rows: LabeledSplit,
    device: torch.device,
) -> None:
    """Order the dimensions of the saved models, if wanted, and sketch their data."""
    if config.ordered:
        network = order_run(network, config.output_dir, train, rows.labels, device=device)
    of, sketched = sketched_rows(rows)
    sketch_run(
        network, train, sketched, config.output_dir,
        source=config.data.source, of=of, device=device,
    )  # fmt: skip


def finetune(config: FinetuneConfig, values: dict[str, Any]) -> None:
    """Train and validate, from the start or the newest checkpoint, to the last step; save.

    Args:
        config: The run.
        values: The same as plain values, for ``config.yaml``.
    """
    # First, so that the processes of the run claim its folder together.
    accelerator = make_accelerator(config.train, seed=config.seed)
    with claim(config.output_dir, resume=config.resume):
        device = accelerator.device
        begin = initial(config.init, *component(values, "backbone"), trust=config.trust)
        train, rows, data = read_data(config, begin)
        order = LabeledBatches(
            rows, config.labels, batch_size=config.data.batch_size, seed=config.seed
        )
        plan = config.train.plan(order.per_epoch)
        with Allocations(values):
            model = build(config, begin, train, rows.num_classes)
        config.finetune.split(synchronize_batch_norm(model))
        augment = config.augment(model.embedder.inputs).to(device)
        optimizer, scheduler = make_optimizer(model, config, plan, config.finetune.lr_scales(model))
        attach_partial_fc(model, optimizer)
        place(model, device, compiled=config.train.compile)
        optimizer, best = accelerator.prepare_optimizer(optimizer), best_of(rows)
        state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "best": best}
        same = {"classes": rows.num_classes, "labels and what is held out": rows.fingerprint}
        run = start_run(config, values, accelerator, plan=plan, state=state, data=data, same=same)

        def keep(name: str, step: int) -> None:
            """Save the embedding model in a folder of the run."""
            trained = {"head": component(values, "head")[0], "nested": config.nested}
            trained |= {"data": data, "steps": step}
            built = begin.arguments(neck=config.neck, dim=config.embedding_dim)
            if accelerator.is_main_process or has_split_weights(model):
                save(model.embedder, config.output_dir / name, EMBEDDER, built, trained=trained)

        def measure(step: int) -> None:
            """Validate, and keep the model if it is the best so far."""
            labels = {"label_values": rows.label_values, "device": device}
            found = validate(model.embedder, train, rows.queries, rows.gallery, **labels)
            record_probe(accelerator, step, found)
            if broadcast_object(bool(found) and best.improved(found, step)):
                keep("best", step)

        rest = order.skip(run.batches_done)
        loader = make_loader(train, rest, workers=config.data.workers, device=device)
        inputs = batches(loader, augment, device, rows.given, train.aspects)
        if run.start == 0:
            measure(0)
            count = plan.steps * plan.accumulation
            inputs = show_first(inputs, train, accelerator, batches=count, folder=config.output_dir)
        frozen = round(config.finetune.freeze_epochs * plan.per_epoch)
        steps = fit_in_phases(model, optimizer, scheduler, inputs, frozen=frozen, **run.training)
        for step in run.checkpointed(steps, train.names):
            if plan.due(step, every_epochs=config.validation.every_epochs):
                measure(step)

        keep("backbone", plan.steps)
        complete(config, model.embedder, train, rows, device)
        project(accelerator, model.embedder, train, step=plan.steps)
        finish(accelerator)
        say(finetune_summary(config.output_dir))


def main(args: list[str] | None = None) -> Path:
    """Parse the command line, fine-tune, and return the run folder."""
    config, values = parse_run(FinetuneConfig, args, kind="finetune", default="arcface")
    finetune(config, values)
    return config.output_dir
