"""Trackers: ``accelerator.log`` writes metrics.jsonl, TensorBoard and the progress bar."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, final

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker
from tqdm import tqdm

from ssl_dml.augment import unsquash
from ssl_dml.data import SampleSet
from ssl_dml.files import as_json, write_text
from ssl_dml.progress import say
from ssl_dml.reporting.images import views_image
from ssl_dml.reporting.summary import collapse_warning, read_records, rows_and_damage
from ssl_dml.types import Batch, ImageSpec

TIMED = 5  # batches
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
        self._show_probe(values)
        self.tracker.set_postfix(self.shown, refresh=False)
        self.tracker.update((step or 0) - self.tracker.n)

    def _show_probe(self, values: dict[str, Any]) -> None:
        for name, word in SHOWN.items():
            if name in values:
                self.shown[word] = f"{values[name]:.1%}"

    def finish(self) -> None:
        """Close the bar and leave it on the screen."""
        self.tracker.close()


def start_trackers(
    accelerator: Accelerator, folder: Path, *, step: int, steps: int, steps_per_epoch: float
) -> None:
    """Let ``accelerator.log`` write to a run folder, from ``step`` on."""
    if not accelerator.is_main_process:
        accelerator.log_with = []
        return
    record = RecordTracker(folder, step=step, steps_per_epoch=steps_per_epoch)
    board = TensorBoardTracker("tensorboard", folder, purge_step=step + 1 if step else 0)
    bar = ProgressTracker(steps=steps, step=step, before=read_records(folder))
    accelerator.log_with = [record, board, bar]
    accelerator.init_trackers("tensorboard")


def show_first(
    inputs: Iterable[Batch], samples: SampleSet, accelerator: Accelerator, *, batches: int
) -> Iterator[Batch]:
    """Pass batches on; show 8 samples of the first, with their views, in TensorBoard.

    After a few batches it says how long all of them take, if that is a minute or more.

    Args:
        inputs: The batches of a run.
        samples: Data set that they are of.
        accelerator: Has the trackers.
        batches: Number of batches in the run.
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
            board: Any = accelerator.get_tracker("tensorboard", unwrap=True)
            board.add_image("views", image, 0)
        yield batch


def record_probe(accelerator: Accelerator, step: int, measured: dict[str, float]) -> None:
    """Log the result of a probe, and warn if the representation has collapsed."""
    if not measured:
        return
    accelerator.log({f"eval/{name}": value for name, value in measured.items()}, step=step)
    if step and (warning := collapse_warning(measured)):
        tqdm.write(warning, file=sys.stderr)


def finish(accelerator: Accelerator) -> None:
    """Close the progress bar, the log files and the process group."""
    accelerator.wait_for_everyone()
    accelerator.end_training()
