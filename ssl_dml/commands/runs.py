"""The runs below a folder with their scores: ``ssl_dml runs FOLDER``."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_dml.config import parse
from ssl_dml.console import plain
from ssl_dml.files import write_json
from ssl_dml.progress import say
from ssl_dml.training.run_state import RunState, read_state
from ssl_dml.types import ConfigError

DEEPEST = 6  # folders below the one that is named
SKIPPED = ("checkpoints", "backbone", "best", "tensorboard")
# Heading and width of each column; a positive width is of text, a negative one of numbers.
COLUMNS = {
    "date": 11, "run": 15, "objective": 10, "data": 12, "steps": -11, "state": 8, "loss": -6,
    "probe": -6, "first": -6, "gain": -6,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """A list of runs.

    Args:
        folder: Where to look for run folders, up to six folders deep.
        json: File to write the list to, too.
    """

    folder: Path = Path("runs")
    json: Path | None = None

    def __post_init__(self) -> None:
        if not self.folder.expanduser().is_dir():
            raise ConfigError(f"--folder {str(self.folder)!r}: there is no such folder")
        if self.json is not None and not self.json.expanduser().absolute().parent.is_dir():
            raise ConfigError(f"--json {self.json}: there is no folder {self.json.parent}")


def find_runs(folder: Path) -> list[Path]:
    """Folders with a ``config.yaml``: this one and those below it; links are not followed."""
    found = list[Path]()
    for place, folders, names in os.walk(folder):
        path = Path(place)
        if "config.yaml" in names:
            found.append(path)
        deep = len(path.relative_to(folder).parts) >= DEEPEST
        folders[:] = [] if deep else sorted({*folders} - {*SKIPPED})
    return found


def values_of(state: RunState) -> dict[str, Any]:
    """A run as plain values."""
    name, first, last = state.score or (None, None, None)
    return {
        "run": str(state.folder),
        "date": state.began.isoformat(timespec="seconds"),
        "objective": state.objective,
        "data": state.source,
        "step": state.step,
        "planned": state.planned,
        "state": state.state,
        "loss": state.loss,
        "probe": name,
        "score": last,
        "baseline": first,
        "gain": None if first is None or last is None else last - first,
    }


def row_of(values: dict[str, Any], below: Path) -> str:
    """A run as a line of at most 100 characters."""
    percent = values["probe"] != "label distance"
    planned = "?" if values["planned"] is None else f"{values['planned']}"
    path = Path(values["run"])
    shown = {
        "date": f"{values['date'][5:10]} {values['date'][11:16]}",
        "run": path.name if path == below else str(path.relative_to(below)),
        "objective": values["objective"],
        "data": values["data"],
        "steps": f"{values['step']}/{planned}",
        "state": values["state"],
        "loss": "" if values["loss"] is None else f"{values['loss']:.3f}",
        "probe": _score(values["score"], percent),
        "first": _score(values["baseline"], percent),
        "gain": _score(values["gain"], percent, sign="+"),
    }
    return line_of(shown)


def line_of(shown: dict[str, str]) -> str:
    """Words in their columns; of one that is too long the end is kept."""
    cells = list[str]()
    for name, width in COLUMNS.items():
        word = plain(shown[name])
        word = word if len(word) <= abs(width) else f"…{word[1 - abs(width) :]}"
        cells.append(word.ljust(width) if width > 0 else word.rjust(-width))
    return " ".join(cells).rstrip()


def _score(value: float | None, percent: bool, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{100 * value:{sign}.1f}" if percent else f"{value:{sign}.3g}"


def runs(config: RunsConfig) -> list[dict[str, Any]]:
    """List the runs, oldest first."""
    folder = config.folder.expanduser()
    states, wrong = list[RunState](), list[str]()
    for path in find_runs(folder):
        try:
            states.append(read_state(path))
        except (ConfigError, OSError) as error:
            wrong.append(str(error))
    states.sort(key=lambda state: state.began)
    found = [values_of(state) for state in states]
    if found:
        say(line_of({name: name for name in COLUMNS}))
    for values in found:
        say(row_of(values, folder))
    say(f"{len(found)} runs below {folder}" + ("; scores in percent" if found else ""))
    for line in wrong:
        say(f"left out: {plain(line)}")
    if config.json is not None:
        write_json(config.json.expanduser(), {"runs": found, "left_out": wrong})
    return found


def main(args: list[str] | None = None) -> None:
    """Parse the command line and list; the first word may be the folder."""
    args = list(sys.argv[1:] if args is None else args)
    if args and not args[0].startswith("-"):
        args = ["--folder", *args]
    config, _ = parse(RunsConfig, args, kind="runs")
    runs(config)
