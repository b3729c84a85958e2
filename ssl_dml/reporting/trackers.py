"""One call of ``accelerator.log`` writes metrics.jsonl, TensorBoard and the progress bar."""

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, final

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, on_main_process
from tqdm import tqdm

from ssl_dml.data import SampleSet
from ssl_dml.reporting.images import views_image
from ssl_dml.types import Batch, NonFiniteError

# What the bar shows of a probe.
PROBES = {"eval/knn_top1": "kNN", "eval/recall_at_1": "recall@1"}
COLLAPSED_SPREAD = 0.1
COLLAPSED_RANK = 2.0


@final
class RecordTracker(GeneralTracker):
    """``metrics.jsonl``: one JSON object a line, flushed at once.

    Args:
        folder: The run folder.
        step: Step the run goes on from; later rows of an earlier attempt are taken away, since
            they will be written again.
        steps_per_epoch: What a step is in epochs.
    """

    name = "records"
    requires_logging_directory = False

    def __init__(self, folder: Path, *, step: int, steps_per_epoch: float) -> None:
        super().__init__()
        self.path, self.steps_per_epoch = folder / "metrics.jsonl", steps_per_epoch
        rows = [row for row in read_records(folder) if row["step"] <= step] if step else []
        self.elapsed = rows[-1]["wall_s"] if rows else 0.0
        self.began = time.monotonic()
        if self.path.exists():
            beside = self.path.with_suffix(".part")
            beside.write_text("".join(json.dumps(row) + "\n" for row in rows))
            beside.replace(self.path)

    @property
    def tracker(self) -> Path:
        """Where the rows go."""
        return self.path

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """The configuration has a file of its own."""

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:  # noqa: ANN401
        """Append a row."""
        step = step or 0
        seconds = self.elapsed + time.monotonic() - self.began
        row = {"step": step, "epoch": step / self.steps_per_epoch, "wall_s": round(seconds, 3)}
        with self.path.open("a") as file:
            file.write(json.dumps({**row, **values}) + "\n")


@final
class ProgressTracker(GeneralTracker):
    """A bar with step, time left, loss, samples a second and the last probe.

    Args:
        steps: Steps in the run.
        step: Step the run goes on from.
        before: The last rows that were logged before that, whose probe it shows.
    """

    name = "progress"
    requires_logging_directory = False

    def __init__(self, *, steps: int, step: int, before: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__()
        self.shown: dict[str, str] = {}
        for row in before:
            self._show_probe(row)
        self.bar = tqdm(
            total=steps,
            initial=step,
            unit="step",
            desc="training",
            mininterval=0.1 if sys.stderr.isatty() else 10,
        )

    @property
    def tracker(self) -> Any:  # noqa: ANN401
        """The bar."""
        return self.bar

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """The bar has nothing to say about the configuration."""

    @on_main_process
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:  # noqa: ANN401
        """Move the bar and show what is new."""
        if "train/loss" in values:
            self.shown["loss"] = f"{values['train/loss']:.3f}"
            self.shown["samples/s"] = f"{values['train/samples_per_s']:.0f}"
        self._show_probe(values)
        self.bar.set_postfix(self.shown, refresh=False)
        self.bar.update((step or 0) - self.bar.n)

    def _show_probe(self, values: dict[str, Any]) -> None:
        for name, word in PROBES.items():
            if name in values:
                self.shown[word] = f"{values[name]:.1%}"

    @on_main_process
    def finish(self) -> None:
        """Leave the bar on the screen as it is."""
        self.bar.close()


def start_trackers(
    accelerator: Accelerator, folder: Path, *, step: int, steps: int, steps_per_epoch: float
) -> None:
    """Let ``accelerator.log`` write into a run folder from a step on."""
    if not accelerator.is_main_process:
        accelerator.log_with = []
        return
    record = RecordTracker(folder, step=step, steps_per_epoch=steps_per_epoch)
    board = TensorBoardTracker("tensorboard", folder, purge_step=step + 1 if step else 0)
    bar = ProgressTracker(steps=steps, step=step, before=read_records(folder))
    accelerator.log_with = [record, board, bar]
    accelerator.init_trackers("tensorboard")


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``; a last line that a kill cut short does not count."""
    path = folder / "metrics.jsonl"
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def show_first(
    inputs: Iterable[Batch], samples: SampleSet, accelerator: Accelerator
) -> Iterator[Batch]:
    """Pass inputs on; show 8 samples of the first and their views in TensorBoard."""
    for number, batch in enumerate(inputs):
        if number == 0 and accelerator.is_main_process:
            image = views_image(samples[batch.indices.cpu()][0], batch.views, samples.spec)
            board: Any = accelerator.get_tracker("tensorboard", unwrap=True)
            board.add_image("views", image, 0)
        yield batch


def record_probe(accelerator: Accelerator, step: int, measured: dict[str, float]) -> None:
    """Log what a probe found; say so if the representation has collapsed."""
    if not measured:
        return
    accelerator.log({f"eval/{name}": value for name, value in measured.items()}, step=step)
    if step and (warning := collapse_warning(measured)):
        tqdm.write(warning, file=sys.stderr)


def explain_non_finite(error: NonFiniteError, folder: Path) -> NonFiniteError:
    """The error with what a user needs next: all samples in a file, and the last checkpoint."""
    steps = [
        int(path.name[5:])
        for path in (folder / "checkpoints").glob("step_*")
        if re.fullmatch(r"step_\d+", path.name)
    ]
    last = f"{folder / 'checkpoints' / f'step_{max(steps)}'}" if steps else "none"
    listed = ""
    if error.samples:
        path = folder / "non_finite.json"
        path.write_text(json.dumps({"error": str(error), "samples": error.samples}) + "\n")
        listed = f" ({path} lists all)"
    return NonFiniteError(
        f"{error}{listed}; the last good checkpoint is {last}: lower the learning rate, or look "
        "at those samples",
        error.samples,
    )


def finish(accelerator: Accelerator) -> None:
    """Close the bar, the files and the process group."""
    accelerator.wait_for_everyone()
    accelerator.end_training()


def summary(folder: Path) -> str:
    """The end of a run: a table of probes, the run folder, and what to do next."""
    rows = [row for row in read_records(folder) if "eval/rankme" in row]
    lines = ["", f"{'weighted kNN top-1':24}  accuracy"]
    table = [
        ("random weights", rows[0].get("eval/knn_top1")),
        ("raw pixels", rows[0].get("eval/raw_pixels_knn_top1")),
        ("log-mel statistics", rows[0].get("eval/log_mel_knn_top1")),
        ("raw values", rows[0].get("eval/raw_values_knn_top1")),
        (f"trained, {rows[-1]['epoch']:.0f} epochs", rows[-1].get("eval/knn_top1")),
        ("  in its memory bank", rows[-1].get("eval/bank_knn_top1")),
    ]
    lines += [f"{name:24}  {value:8.1%}" for name, value in table if value is not None]
    script = "accelerate launch scripts"
    linear = "evaluate.py --config configs/evaluate/linear.yaml"
    following = f"linear probe:  {script}/{linear} --run {folder}"
    if len(lines) == 2:  # noqa: PLR2004 - nothing but the heading
        lines = ["", "no labels, so no accuracy; the health of the features is in metrics.jsonl"]
        longer = f"--resume true --train.steps {2 * rows[-1]['step']}"
        following = f"train longer:  {script}/pretrain.py --output_dir {folder} {longer}"
    lines += [
        "",
        f"run folder: {folder}",
        following,
        f"curves:        tensorboard --logdir {folder / 'tensorboard'}",
    ]
    return "\n".join(lines)


def finetune_summary(folder: Path) -> str:
    """The end of fine-tuning: retrieval among what was held out, and what to do next."""
    rows = [row for row in read_records(folder) if "eval/rankme" in row]
    lines = ["", "nothing was held out, so nothing is known of retrieval"]
    evaluate = "evaluate.py --config configs/evaluate/retrieval.yaml"
    if rows:
        columns, best = {"recall@1": "recall_at_1", "MAP@R": "map_at_r"}, max
        if "eval/recall_at_1" not in rows[0]:
            columns, best = {"label distance": "label_distance_at_1"}, min
            evaluate += " --retrieval.continuous true"
        first = f"eval/{next(iter(columns.values()))}"
        chosen = best(rows, key=lambda row: row[first])  # the first of equals
        table = {
            "before the first step": rows[0],
            f"best, {chosen['epoch']:.0f} epochs": chosen,
            f"last, {rows[-1]['epoch']:.0f} epochs": rows[-1],
        }
        lines = ["", f"{'held-out samples':24}" + "".join(f"  {name:>8}" for name in columns)]
        form = "8.1%" if best is max else "14.4g"
        lines += [
            f"{name:24}" + "".join(f"  {row[f'eval/{key}']:{form}}" for key in columns.values())
            for name, row in table.items()
        ]
    lines += [
        "",
        f"run folder: {folder} (backbone: the last; best: the best)",
        f"on the test set: accelerate launch scripts/{evaluate} --run {folder}",
        f"curves:          tensorboard --logdir {folder / 'tensorboard'}",
    ]
    return "\n".join(lines)


def collapse_warning(measured: dict[str, float]) -> str | None:
    """A plain sentence if the numbers of :func:`health` say that rows have become alike."""
    if measured["spread"] >= COLLAPSED_SPREAD and measured["rankme"] >= COLLAPSED_RANK:
        return None
    return (
        f"warning: the representation has collapsed (spread {measured['spread']:.3f} of 1, "
        f"RankMe {measured['rankme']:.1f}): lower the learning rate or raise the temperature"
    )
