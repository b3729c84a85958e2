"""A run that can be resumed: its folder, where it continues, and what is saved while it trains."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.optim import Optimizer

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone
from ssl_dml.data import DataConfig
from ssl_dml.distributed import broadcast_object
from ssl_dml.files import write_json
from ssl_dml.memory import split_rows
from ssl_dml.progress import say
from ssl_dml.reporting import explain_non_finite, finish, start_trackers
from ssl_dml.reporting.environment import ENVIRONMENT, environment
from ssl_dml.stops import Interrupted, NonFiniteError
from ssl_dml.training.checkpoint import Checkpoints, Stateful
from ssl_dml.training.interrupt import Interrupt
from ssl_dml.training.loop import Plan, TrainConfig
from ssl_dml.training.resuming import (
    Changes,
    changes_between,
    check_changes,
    hyperparameters,
    take_over,
)
from ssl_dml.training.run_folder import read_config, write_config
from ssl_dml.trust import class_paths
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec, sides_of

CONTENT = "the content of its samples"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What the configurations of pretraining and fine-tuning have in common.

    Args:
        output_dir: The run folder; it must be new unless the run is resumed.
        data: Which images or sequences.
        augment: Makes views of them.
        backbone: The encoder.
        optimizer: Given the parameters; its learning rate is the peak.
        train: How long and how fast.
        seed: Seed of weights, order and augmentation.
        resume: Continue from the newest checkpoint of the run folder, or begin if there is none.
        init: Where the backbone starts: a run folder or a saved backbone, which then names the
            network, a file of weights or a checkpoint for the configured one, ``timm:NAME``,
            ``hf:USER/NAME`` or ``torchvision:NAME``; null starts from random weights.
        trust: Import the module of any class that a saved backbone, or the configuration of the
            run folder that is resumed, names; the command line or a file of one's own says so.
    """

    output_dir: Path
    data: DataConfig
    augment: Callable[[ImageSpec | SequenceSpec], Augmentation]
    backbone: Callable[[ImageSpec | SequenceSpec], Backbone]
    optimizer: Callable[[list[dict[str, Any]]], Optimizer]
    train: TrainConfig
    seed: int = 0
    resume: bool = False
    init: str | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed must be from 0 to 2147483647, got {self.seed}")


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """An opened run folder.

    Args:
        config: The run's configuration.
        accelerator: The processes of the run.
        plan: How many steps there are.
        start: Optimizer steps already made.
        checkpoints: Where they are kept.
        state: Objects whose state is checkpointed, by name.
        metadata: Must be unchanged when the run is resumed.
    """

    config: RunConfig
    accelerator: Accelerator
    plan: Plan
    start: int
    checkpoints: Checkpoints
    state: dict[str, Stateful]
    metadata: dict[str, Any]

    @property
    def training(self) -> dict[str, Any]:
        """What the loop is told of the run: its steps, clipping and logging, and processes."""
        own = {"config": self.config.train, "accelerator": self.accelerator}
        return {"start": self.start, "steps": self.plan.steps, **own}

    @property
    def batches_done(self) -> int:
        """Batches that were already visited."""
        return self.start * self.plan.accumulation

    def checkpointed(self, updates: Iterator[int], names: Sequence[str] = ()) -> Iterator[int]:
        """Yield each step; when the caller is done with it, save if due or asked to stop.

        Args:
            updates: The steps.
            names: Of the samples, to name those of a loss that is not finite.

        Raises:
            Interrupted: After saving, if a signal asked the run to stop.
            NonFiniteError: If loss or gradient is not finite, naming the last good checkpoint.
        """
        last, folder = self.plan.steps, self.config.output_dir
        try:
            with Interrupt() as interrupt:
                for step in updates:
                    stop = interrupt.wanted(step, self.accelerator.device) and step < last
                    yield step
                    if stop or step == last or step % self.config.train.save_every == 0:
                        self.checkpoints.save(step, self.state, self.metadata)
                    if stop:
                        finish(self.accelerator)
                        raise Interrupted(
                            f"stopped at step {step} of {last} and saved; to continue: "
                            f"--resume true --output_dir {folder}",
                            interrupt.exit_code,
                        )
        except NonFiniteError as error:
            raise explain_non_finite(error, folder, names) from error


def start_run(
    config: RunConfig,
    values: dict[str, Any],
    accelerator: Accelerator,
    *,
    plan: Plan,
    state: dict[str, Stateful],
    data: dict[str, Any],
    same: dict[str, Any] | None = None,
) -> Run:
    """Restore the newest checkpoint if asked to, and write what the run folder says of the run.

    Args:
        config: The run's configuration.
        values: The same as plain values.
        accelerator: The processes of the run.
        plan: How many steps there are.
        state: Objects whose state is checkpointed, by name; one is the ``model``.
        data: What was read, for ``data.json``.
        same: What must be unchanged when the run is resumed, besides data, batch and seed.

    Raises:
        ConfigError: If the run has made more steps already than it is to have, or fp16 is asked
            for with class weights that are split over processes.
        ValueError: If the checkpoint is damaged or of another run.
    """
    if accelerator.scaler is not None:
        if split_rows(state["model"]):
            raise ConfigError(
                "train.precision fp16 is not for class weights that are split over processes, "
                "as one alone may overflow; use bf16, or sharded: false"
            )
        state = {**state, "scaler": accelerator.scaler}
    set_seed(config.seed, device_specific=True)  # from here on each process has its own stream
    metadata = {
        "samples": data["samples"],  # a number says more than the fingerprint
        "data": data["fingerprint"],
        **({"data.image_size": list(sides_of(data["size"]))} if "size" in data else {}),
        **(same or {}),
        "data.batch_size": config.data.batch_size,
        "train.accumulation": plan.accumulation,
        "seed": config.seed,
        CONTENT: data["content"],
    }
    folder = config.output_dir
    record = {**values, "resume": False}
    checkpoints = Checkpoints(folder / "checkpoints", keep=config.train.keep, config=record)
    since = checkpoints.newest() or folder
    start = _resume(config, values, checkpoints, state, metadata) if config.resume else 0
    if start > plan.steps:
        raise ConfigError(
            f"train.steps must be at least the {start} already made, got {plan.steps}"
        )
    if accelerator.is_main_process:
        write_config(folder, record, since=since)
        write_json(folder / "data.json", data)
        write_json(folder / ENVIRONMENT, environment(processes=accelerator.num_processes))
    start_trackers(
        accelerator,
        folder,
        step=start,
        steps=plan.steps,
        steps_per_epoch=plan.per_epoch,
        names=config.train.trackers,
        config=values,
    )
    return Run(
        config=config,
        accelerator=accelerator,
        plan=plan,
        start=start,
        checkpoints=checkpoints,
        state=state,
        metadata=metadata,
    )


def _resume(
    config: RunConfig,
    values: dict[str, Any],
    checkpoints: Checkpoints,
    state: dict[str, Any],
    metadata: dict[str, Any],
) -> int:
    """Restore the newest checkpoint, take over what the configuration changed, return its step."""
    optimizer, changes = state["optimizer"], Changes()
    fresh, place = hyperparameters(optimizer), checkpoints.newest()
    if place is not None:
        # A changed key is named first, as with it the decoded samples are others.
        checkpoints.check(place, {key: metadata[key] for key in metadata if key != CONTENT})
        # The first process is to write another record.
        own = None if config.trust else [path.partition(".")[0] for path in class_paths(values)]
        before = broadcast_object(read_config(place, type(config), own))
        changes = changes_between({**values, **before}, values)
        check_changes(changes, config.output_dir, optimizer)
    start = checkpoints.resume(state, metadata, say=say)
    if start != (made := state["scheduler"].last_epoch):
        raise ValueError(
            f"{place} is of step {start}, and its schedule of step {made}: it was changed; remove "
            "it to go on from the one before"
        )
    if changes:
        take_over(changes, fresh, state["scheduler"])
    return start
