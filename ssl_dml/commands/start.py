"""From images to a search page in one command: ``ssl_dml start ~/images``."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssl_dml.checks import positive
from ssl_dml.commands import describe, embed, pretrain, report, search
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, load_train
from ssl_dml.progress import say
from ssl_dml.stops import Interrupted
from ssl_dml.tables import TABLE
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import read_yaml

TRIAL: Final = 10  # steps that tell how long one takes
MOST_BATCH: Final = 256


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """What to start from.

    Args:
        source: Images: what ``data.source`` of a run may be. Damaged ones are left out.
        output: Folder of all that is made; null for one below ``runs`` with the name of the
            source. What is there already is kept, and the rest is made.
        minutes: Time to train.
        serve: Whether to open the search page at the end.
        port: Of the search page.
    """

    source: str
    output: Path | None = None
    minutes: float = 3.0
    serve: bool = True
    port: int = 8000

    def __post_init__(self) -> None:
        positive("start", minutes=self.minutes)

    @property
    def folder(self) -> Path:
        """Where everything is made.

        >>> StartConfig(source="/home/me/my images/").folder.as_posix()
        'runs/my images'
        """
        return self.output or Path("runs") / (Path(self.source).expanduser().name or "images")


def start(config: StartConfig) -> None:
    """Describe, pretrain, embed, report, index and serve; each step that is not done yet.

    Raises:
        Interrupted: If a signal asked to stop; what is done stays.
    """
    folder = config.folder
    run, table, index = folder / "run", folder / "table", folder / "index"
    page, drawn = folder / "report.html", folder / "samples.png"
    folder.mkdir(parents=True, exist_ok=True)
    source = ["--data.source", config.source, "--data.on_error", "skip"]
    _step("describe", describe.main, [*source, "--sheet", str(drawn)], done=drawn.exists())
    try:
        _pretrain(config, run)
    except Interrupted as stop:
        again = shlex.join(["ssl_dml", "start", config.source])
        raise Interrupted(f"{stop}; or with all that follows: {again}", stop.exit_code) from stop
    words = ["--run", str(run), "--output", str(table)]
    _step("embed", embed.main, words, done=(table / TABLE).exists())
    words = [str(run), "--output", str(page)]
    _step("report", report.main, words, done=page.exists())
    words = ["build", str(table), "--output", str(index)]
    _step("search", search.main, words, done=index.exists())
    say(f"look at {page}")
    words = ["serve", str(index), "--port", str(config.port), "--open", "true"]
    _step("search", search.main, words, done=not config.serve)


def _step(name: str, main: Callable[[list[str]], object], args: list[str], *, done: bool) -> None:
    """Say the command that does the same alone, and do it unless it is done."""
    command = shlex.join(["ssl_dml", name, *args])
    say(f"done already: {command}" if done else f"\n{command}")
    if not done:
        main(args)


def _pretrain(config: StartConfig, run: Path) -> None:
    """Train for the time that was asked for, on from where an earlier call was stopped."""
    steps = _steps_of(run)
    finished = (run / "backbone").exists()
    if steps is None or (steps == TRIAL and not finished):
        samples = len(load_train(DataConfig(source=config.source, on_error="skip")))
        if samples < 2:  # noqa: PLR2004 - one is told from others
            raise ConfigError(f"data.source {config.source!r} has {samples} samples; 2 are needed")
        words = ["--data.source", config.source, "--data.on_error", "skip"]
        words += ["--data.batch_size", str(min(MOST_BATCH, samples // 2 * 2))]
        words += ["--train.steps", str(TRIAL), "--train.log_every", str(TRIAL // 2)]
        words += ["--train.save_every", "50"]
        words += ["--evaluation.every_epochs", "1000000", "--train.warmup_epochs", "0"]
        words += ["--output_dir", str(run), "--resume", "true", "--config", "default"]
        _step("pretrain", pretrain.main, words, done=False)
    words = ["--output_dir", str(run), "--resume", "true"]
    if (steps or TRIAL) == TRIAL:
        pace = _seconds_a_step(run)
        steps = max(TRIAL + 1, round(config.minutes * 60 / pace))
        say(f"{pace:.2f} s a step: {steps:,} steps take about {steps * pace / 60:.0f} minutes")
        words += ["--train.steps", str(steps)]
        finished = False
    _step("pretrain", pretrain.main, words, done=finished)


def _steps_of(run: Path) -> int | None:
    """Steps that a run is to have; None if there is none."""
    path = run / "config.yaml"
    if not path.exists():
        return None
    train = read_yaml(path).get("train")
    steps = train.get("steps") if isinstance(train, dict) else None
    if type(steps) is not int:
        raise ConfigError(f"{path} is not of ssl_dml start; name another folder with --output")
    return steps


def _seconds_a_step(run: Path) -> float:
    """By the last row of metrics that has a rate, which leaves the first steps out."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    batch = read_yaml(run / "config.yaml")["data"]["batch_size"]
    return batch / next(row[RATE] for row in reversed(rows) if RATE in row)


RATE: Final = "train/samples_per_s"


def main(args: list[str] | None = None) -> None:
    """Parse the command line and start; the first word may be the source."""
    args = list(sys.argv[1:] if args is None else args)
    if args and not args[0].startswith("-"):
        args = ["--source", *args]
    config, _ = parse(StartConfig, args, kind="start")
    start(config)
