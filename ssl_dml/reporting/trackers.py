"""Trackers: ``accelerator.log`` writes metrics.jsonl, TensorBoard and the progress bar."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from accelerate import Accelerator
from accelerate.tracking import (
    LOGGER_TYPE_TO_CLASS,
    GeneralTracker,
    TensorBoardTracker,
    get_available_trackers,
)
from accelerate.utils import LoggerType
from PIL import Image
from tqdm import tqdm

from ssl_dml.augment import unsquash
from ssl_dml.config_errors import nearest
from ssl_dml.data import SampleSet
from ssl_dml.files import as_json, replacing, write_text
from ssl_dml.progress import say
from ssl_dml.reporting.images import views_image
from ssl_dml.reporting.summary import (
    collapse_warning,
    read_records,
    rows_and_damage,
    saturation,
)
from ssl_dml.types import Batch, ConfigError, ImageSpec, one_line, shown

TIMED = 5  # batches
VIEWS = "views.png"
# What a tracker calls the name of a run.
RUN_NAMES = {"wandb": "name", "trackio": "name", "mlflow": "run_name"}
HOURS = 120  # minutes from which a time is given in hours
# Measures that the progress bar shows.
SHOWN = {"eval/knn_top1": "kNN", "eval/recall_at_1": "recall@1"}


@final
class RecordTracker(GeneralTracker):
    """``metrics.jsonl``: one JSON object a line, flushed at once.

    Args:
        folder: The run folder.
        step: Step that the run starts or resumes from; rows of later steps are deleted, since they
            will be written again.
        steps_per_epoch: Steps in an epoch.
    """

    name = "records"
    requires_logging_directory = False

    def __init__(self, folder: Path, *, step: int, steps_per_epoch: float) -> None:
        self.tracker, self.steps_per_epoch = folder / "metrics.jsonl", steps_per_epoch
        super().__init__()
        found, damaged = rows_and_damage(folder) if step else ([], 0)
        if damaged:
            say(f"{self.tracker}: {damaged} lines are damaged or of another run, and left out")
        rows = [row for row in found if row.get("step", 0) <= step]
        self.elapsed = float(rows[-1].get("wall_s") or 0) if rows else 0.0
        self.began = time.monotonic()
        if os.path.lexists(self.tracker):
            write_text(self.tracker, "".join(as_json(row) + "\n" for row in rows))

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:  # noqa: ANN401
        """Append a row."""
        step = step or 0
        seconds = self.elapsed + time.monotonic() - self.began
        row = {"step": step, "epoch": step / self.steps_per_epoch, "wall_s": round(seconds, 3)}
        with self.tracker.open("a") as file:
            file.write(as_json({**row, **values}) + "\n")


@final
class ProgressTracker(GeneralTracker):
    """A progress bar with step, time left, loss, samples a second and the last probe.

    Args:
        steps: Steps in the run.
        step: Step that the run starts or resumes from.
        before: Rows logged before that step; the bar shows their last probe.
    """

    name = "progress"
    requires_logging_directory = False

    def __init__(self, *, steps: int, step: int, before: Iterable[dict[str, Any]] = ()) -> None:
        self.shown: dict[str, str] = {}
        self.saturated = False
        for row in before:
            self._show_probe(row)
        self.tracker = tqdm(
            total=steps,
            initial=step,
            unit="step",
            desc="training",
            mininterval=0.1 if sys.stderr.isatty() else 10,
        )
        super().__init__()

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:  # noqa: ANN401
        """Move the bar and show new values."""
        if "train/loss" in values:
            self.shown["loss"] = f"{values['train/loss']:.3f}"
            self.shown["samples/s"] = f"{values['train/samples_per_s']:.0f}"
            self._say_saturation(values, step or 0)
        self._show_probe(values)
        self.tracker.set_postfix(self.shown, refresh=False)
        self.tracker.update((step or 0) - self.tracker.n)

    def _say_saturation(self, values: dict[str, Any], step: int) -> None:
        """Say once that the batch or the queue tells no more."""
        if not self.saturated and (found := saturation(values)):
            self.saturated = True
            say(f"step {step}: {found}")

    def _show_probe(self, values: dict[str, Any]) -> None:
        for name, word in SHOWN.items():
            if name in values:
                self.shown[word] = f"{values[name]:.1%}"

    def finish(self) -> None:
        """Close the bar and leave it on the screen."""
        self.tracker.close()


def check_trackers(names: Sequence[str]) -> None:
    """Raise unless accelerate knows every tracker by its name, and its package is installed.

    Raises:
        ConfigError: Naming the tracker, with the remedy.

    >>> check_trackers(["tensorboard"])
    >>> check_trackers(["mlfow"])
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: train.trackers: there is no tracker 'mlfow'; did you mean mlflow?
    """
    known = sorted(LOGGER_TYPE_TO_CLASS)
    for name in names:
        if name not in known:
            hint = nearest(name, known, listed=f"choose from {', '.join(known)}")
            raise ConfigError(f"train.trackers: there is no tracker {shown(name)}{hint}")
        if name in LoggerType.list() and LoggerType(name) not in get_available_trackers():
            package = name.replace("_", "-")
            raise ConfigError(
                f"train.trackers: {name} is not installed: pip install {package}, or leave it out"
            )


def start_trackers(
    accelerator: Accelerator,
    folder: Path,
    *,
    step: int,
    steps: int,
    steps_per_epoch: float,
    names: Sequence[str] = ("tensorboard",),
    config: Mapping[str, Any] | None = None,
) -> None:
    """Let ``accelerator.log`` write to a run folder, from ``step`` on, and to named trackers.

    Args:
        accelerator: The processes of the run.
        folder: The run folder; its name is that of the run where a tracker has names.
        step: Step that the run starts or resumes from.
        steps: Steps in the run.
        steps_per_epoch: Steps in an epoch.
        names: Trackers as accelerate calls them, such as ``wandb``.
        config: The run's configuration as plain values, for those that keep one.

    Raises:
        ConfigError: If a tracker cannot start, as without an account.
    """
    if not accelerator.is_main_process:
        accelerator.log_with = []
        return
    record = RecordTracker(folder, step=step, steps_per_epoch=steps_per_epoch)
    bar = ProgressTracker(steps=steps, step=step, before=read_records(folder))
    accelerator.log_with = [record, bar]
    if "tensorboard" in names:
        purge = step + 1 if step else 0
        accelerator.log_with += [TensorBoardTracker("tensorboard", folder, purge_step=purge)]
    others = [name for name in dict.fromkeys(names) if name != "tensorboard"]
    accelerator.log_with += others
    accelerator.project_configuration.logging_dir = str(folder)
    named = {name: {key: folder.name} for name, key in RUN_NAMES.items()}
    try:
        accelerator.init_trackers("ssl_dml", init_kwargs=named)
        for name in others:
            accelerator.get_tracker(name).store_init_configuration(_flat(config or {}))
    except Exception as error:  # each package raises its own
        if not others:
            raise
        bar.finish()
        raise ConfigError(
            f"train.trackers: {', '.join(others)} cannot start: {one_line(error)}; set it up, or "
            "leave it out"
        ) from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float]:
    """Values by their full keys, as trackers take them.

    >>> _flat({"train": {"steps": 3}, "init": None})
    {'train.steps': 3, 'init': 'None'}
    """
    found = dict[str, str | int | float]()
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str | int | float) else str(value)
    return found


def show_first(
    inputs: Iterable[Batch],
    samples: SampleSet,
    accelerator: Accelerator,
    *,
    batches: int,
    folder: Path,
) -> Iterator[Batch]:
    """Pass batches on; show 8 samples of the first with their views, in a file and TensorBoard.

    After a few batches it says how long all of them take, if that is a minute or more.

    Args:
        inputs: The batches of a run.
        samples: Data set that they are of.
        accelerator: Has the trackers.
        batches: Number of batches in the run.
        folder: The run folder, which gets ``views.png``.
    """
    began = 0.0
    for number, batch in enumerate(inputs):
        if number == 1:  # the first one warms up
            began = time.monotonic()
        if number == 1 + TIMED:
            minutes = (time.monotonic() - began) / TIMED * batches / 60
            keys = "--train.epochs"
            keys += " and --data.image_size" if isinstance(samples.spec, ImageSpec) else ""
            if minutes >= 1:
                long = f"{minutes:.0f} minutes" if minutes < HOURS else f"{minutes / 60:.1f} hours"
                say(f"training takes about {long}; {keys} set it")
        if number == 0 and accelerator.is_main_process:
            rows = batch.indices.cpu()
            seen = unsquash(samples[rows][0], samples.aspects_at(rows), samples.spec)
            image = views_image(seen, batch.views, samples.spec)
            pixels = (image * 255).round().byte().permute(1, 2, 0).squeeze(2)
            with replacing(folder / VIEWS) as beside:
                Image.fromarray(pixels.numpy()).save(beside, "png")
            if (writer := board(accelerator)) is not None:
                writer.add_image("views", image, 0)
        yield batch


def board(accelerator: Accelerator) -> Any:  # noqa: ANN401 - a writer of TensorBoard
    """The writer of TensorBoard; None where it is not among the trackers."""
    names = [tracker.name for tracker in accelerator.trackers]
    return accelerator.get_tracker("tensorboard", unwrap=True) if "tensorboard" in names else None


def record_probe(accelerator: Accelerator, step: int, measured: dict[str, float]) -> None:
    """Log the result of a probe, and warn if the representation has collapsed."""
    if not measured or not accelerator.is_main_process:
        return
    accelerator.log({f"eval/{name}": value for name, value in measured.items()}, step=step)
    if step and (warning := collapse_warning(measured)):
        tqdm.write(warning, file=sys.stderr)


def finish(accelerator: Accelerator) -> None:
    """Close the progress bar, the log files and the process group."""
    accelerator.wait_for_everyone()
    accelerator.end_training()
