"""What a resumed run takes over of a configuration that has changed; the rest is refused."""

from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ssl_dml.types import ConfigError

# Keys, and sections with all their keys, that hold from the checkpoint on. Of any other the first
# part of the run has decided: the network, the objective, the samples and their order, and by
# what probes are measured, so that they compare.
TAKEN_OVER = (
    *("output_dir", "resume", "config", "trust", "augment", "optimizer.init_args"),
    *("data.source", "data.test_source", "data.on_error", "data.cache_dir"),
    *("data.memory_fraction", "data.disk_fraction", "data.workers"),
    *("train.steps", "train.epochs", "train.warmup_epochs", "train.lr_scaling", "train.clip_norm"),
    *("train.ema", "train.encode_chunk", "train.precision", "train.deterministic"),
    *("train.log_every", "train.save_every", "train.keep", "train.threads", "train.trackers"),
    *("train.timeout_minutes", "train.compile"),
    *("evaluation.every_epochs", "validation.every_epochs", "guard"),
)
# What has a state of its own, which a checkpoint lacks if the key was null.
WITH_STATE = ("train.ema", "guard.patience")
OPTIMIZER = "optimizer.init_args."

Changes = dict[str, tuple[Any, Any]]


def changes_between(before: Any, after: Any, prefix: str = "") -> Changes:  # noqa: ANN401
    """Keys whose value differs, with the old and the new one.

    >>> changes_between({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    {'a.c': (2, 3)}
    """
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return {} if before == after else {prefix.rstrip("."): (before, after)}
    found: Changes = {}
    for key in sorted({*before, *after}):
        found |= changes_between(before.get(key), after.get(key), f"{prefix}{key}.")
    return found


def check_changes(changes: Changes, folder: Path, optimizer: Optimizer) -> None:
    """Raise if a resumed run cannot take a change over.

    Args:
        changes: Keys that differ from the run's own.
        folder: The run folder.
        optimizer: As the configuration has it.

    Raises:
        ConfigError: Naming the key, the run's value and the other one.
    """
    for key, (old, new) in changes.items():
        taken = any(key == one or key.startswith(f"{one}.") for one in TAKEN_OVER)
        lacking = key in WITH_STATE and (old is None or new is None)
        lacking |= key == "train.precision" and new == "fp16"
        if key.startswith(OPTIMIZER):
            lacking = _argument(key) not in optimizer.param_groups[0]
        if lacking or not taken:
            raise ConfigError(
                f"{key} is {new}, and the run that is resumed has {old} for good: leave it out, or "
                f"start anew from its weights with --init {folder} --output_dir ANOTHER"
            )


def hyperparameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What each group of an optimizer has beside its parameters."""
    return [{k: v for k, v in one.items() if k != "params"} for one in optimizer.param_groups]


def take_over(changes: Changes, fresh: list[dict[str, Any]], scheduler: LambdaLR) -> None:
    """Set in a restored optimizer what the configuration changed, and its rate by the schedule.

    Args:
        changes: Keys that differ from the run's own.
        fresh: Groups of the optimizer as the configuration has them.
        scheduler: Restored, with the optimizer's schedule.
    """
    names = {_argument(key) for key in changes if key.startswith(OPTIMIZER)}
    if "lr" in names or "train.lr_scaling" in changes:
        names |= {"initial_lr"}
        scheduler.base_lrs = [one["initial_lr"] for one in fresh]
    groups = scheduler.optimizer.param_groups
    for group, new in zip(groups, fresh, strict=True):
        group.update({name: new[name] for name in names})
    for group, peak, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = peak * factor(scheduler.last_epoch)


def _argument(key: str) -> str:
    """Name of an optimizer's argument that a key sets, or sets a part of."""
    return key.removeprefix(OPTIMIZER).partition(".")[0]
