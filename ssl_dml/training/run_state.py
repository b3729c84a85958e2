"""What a run folder says of its run, read without calling anything that it names."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ssl_dml.reading import read_json
from ssl_dml.reporting import read_records
from ssl_dml.training.run_lock import in_use
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import read_yaml

# Measures of a probe, the first that a run has; of the last one low values are good.
SCORES = {
    "eval/knn_top1": "kNN top-1",
    "eval/recall_at_1": "recall@1",
    "eval/label_distance_at_1": "label distance",
}


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run, finished or not.

    Args:
        folder: The run folder.
        config: Its ``config.yaml`` as plain values.
        data: Its ``data.json``; empty if that is missing or damaged.
        rows: Those of ``metrics.jsonl``.
        saved_step: Step of its saved backbone; None without one.
        running: Whether a process has the lock of the folder.
        began: When ``config.yaml`` was written: at the start, or when the run was last resumed.
    """

    folder: Path
    config: dict[str, Any]
    data: dict[str, Any]
    rows: list[dict[str, Any]]
    saved_step: int | None
    running: bool
    began: datetime
    notes: list[str] = field(default_factory=list)

    @property
    def objective(self) -> str:
        """Name of the method, or of the margin or loss that the head has."""
        part = self.config.get("method") or self.config.get("head")
        while isinstance(part, dict):
            own = part.get("init_args") or {}
            inner = [own.get(name) for name in ("margin", "loss") if isinstance(own, dict)]
            found = next((one for one in inner if isinstance(one, dict)), None)
            if found is None or "class_path" not in found:
                return str(part.get("class_path", "?")).rpartition(".")[2]
            part = found
        return "?"

    @property
    def source(self) -> str:
        """The data, as the user named them."""
        section = self.config.get("data")
        return str(section.get("source", "?")) if isinstance(section, dict) else "?"

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return max([self.saved_step or 0, *(int(row.get("step", 0)) for row in self.rows)])

    @property
    def planned(self) -> int | None:
        """Optimizer steps of the whole run; None where nothing says how many make an epoch."""
        train = self.config.get("train")
        train = train if isinstance(train, dict) else {}
        if isinstance(train.get("steps"), int):
            return train["steps"]
        ratios = [r["step"] / r["epoch"] for r in self.rows if r.get("epoch") and r.get("step")]
        epochs = train.get("epochs")
        if not ratios or not isinstance(epochs, int | float):
            return None
        steps = epochs * ratios[-1]
        return max(1, round(steps)) if math.isfinite(steps) else None

    @property
    def state(self) -> str:
        """``running``, ``finished`` or ``stopped``."""
        if self.running:
            return "running"
        done = self.saved_step is not None and self.saved_step >= self.step
        return "finished" if done else "stopped"

    @property
    def loss(self) -> float | None:
        """The last training loss."""
        found = [row["train/loss"] for row in self.rows if row.get("train/loss") is not None]
        return found[-1] if found else None

    @property
    def score(self) -> tuple[str, float, float] | None:
        """Name of the probe's measure, its first and its last value; None without a probe."""
        for key, name in SCORES.items():
            values = [row[key] for row in self.rows if row.get(key) is not None]
            if values:
                return name, values[0], values[-1]
        return None


def read_state(folder: Path) -> RunState:
    """Read what there is of a run.

    Raises:
        ConfigError: If the folder has no ``config.yaml`` that is one of a run.
    """
    path, notes = folder / "config.yaml", list[str]()
    if not path.is_file():
        raise ConfigError(f"{str(folder)!r} is no run folder: it has no config.yaml")
    config = read_yaml(path)
    if not isinstance(config, dict) or not ({"method", "head"} & config.keys()):
        raise ConfigError(f"{path} is no configuration of a run: it names no method and no head")
    data = _values(folder / "data.json", notes)
    saved_in = folder / "backbone"
    told = _values(saved_in / "backbone.json", notes) if saved_in.exists() else {}
    trained = told.get("trained")
    saved = trained.get("steps") if isinstance(trained, dict) else None
    return RunState(
        folder=folder,
        config=config,
        data=data,
        rows=read_records(folder),
        saved_step=saved if isinstance(saved, int) else None,
        running=in_use(folder),
        began=datetime.fromtimestamp(path.stat().st_mtime),
        notes=notes,
    )


def _values(path: Path, notes: list[str]) -> dict[str, Any]:
    """A file of JSON; empty, with a note, if it is missing or damaged."""
    try:
        found = read_json(path)
    except FileNotFoundError:
        notes.append(f"{path.name} is missing")
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}
