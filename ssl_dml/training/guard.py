"""Sees to it that a run that goes on from a start does it no harm."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.distributed import broadcast_object, rank
from ssl_dml.evaluation import ProbeConfig
from ssl_dml.evaluation.bootstrap import keep_queries
from ssl_dml.evaluation.drift import nearest_neighbors, neighbor_overlap
from ssl_dml.evaluation.probe import Seen
from ssl_dml.progress import say
from ssl_dml.training.best import Best
from ssl_dml.training.checkpoint import Stateful
from ssl_dml.types import ConfigError

HELD_OUT = "held_out_knn_top1"


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """When a run is said to be worse than its start.

    Args:
        patience: Probes in a row with a lower accuracy than the start's until it is said; null
            for never. The accuracy is of kNN on held-out training samples.
        stop: Whether the run then ends.
    """

    patience: int | None = None
    stop: bool = False

    def __post_init__(self) -> None:
        at_least(1, "guard", patience=self.patience)
        if self.stop and self.patience is None:
            raise ConfigError("guard.stop is true and needs guard.patience, such as 3")


@final
class Guard:
    """Compares each probe with that of the start.

    Args:
        settings: Its patience.
        probe: k and temperature of the probe.
        folder: The run folder; None to do nothing.
        labeled: Whether the probe has labels.

    Raises:
        ConfigError: If there is patience and nothing to measure an accuracy by.
    """

    def __init__(
        self, settings: GuardSettings, probe: ProbeConfig, folder: Path | None, *, labeled: bool
    ) -> None:
        if settings.patience is not None and not labeled:
            raise ConfigError(
                f"guard.patience is {settings.patience}, and accuracy needs labels, of which there "
                "are none to probe; set it to null"
            )
        self.settings, self.probe, self.folder = settings, probe, folder
        self.best, self.start, self.below = Best(HELD_OUT), dict[str, float](), 0
        self.neighbors: Tensor | None = None

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint has of it."""
        return {} if self.folder is None else {"guard": self}

    def look(self, step: int) -> Callable[[Seen], dict[str, float]] | None:
        """What is to be measured of the embeddings of a probe, for :func:`probe`."""
        return None if self.folder is None else partial(self._measure, self.folder, step)

    def _measure(self, folder: Path, step: int, seen: Seen) -> dict[str, float]:
        if seen.gallery is not None and seen.correct is not None:
            if rank() == 0:
                keep_queries(folder, step, seen.correct)
            return {HELD_OUT: self.probe.held_out(seen.gallery, seen.compute)}
        found = nearest_neighbors(seen.features)
        if step == 0 or self.neighbors is None:
            self.neighbors = found
        return {"neighbor_overlap": neighbor_overlap(self.neighbors, found)}

    def judge(self, step: int, measured: dict[str, float]) -> tuple[bool, bool]:
        """Whether this is the best so far, and whether to stop, on every process."""
        if self.folder is None:
            return False, False
        better = stop = False
        if rank() == 0:
            if step == 0:
                self.start = dict(measured)
            if HELD_OUT in measured:
                better = self.best.improved(measured, step)
                stop = self._below(step, measured[HELD_OUT])
            elif step and self.start:
                say(_change(step, self.start, measured))
        return broadcast_object((better, stop))

    def _below(self, step: int, value: float) -> bool:
        """Whether to stop; says it when patience ends."""
        start, patience = self.start.get(HELD_OUT, 0.0), self.settings.patience
        self.below = self.below + 1 if value < start else 0
        if patience is None or self.below < patience:
            return False
        if self.below == patience or self.settings.stop:
            end = "the run stops" if self.settings.stop else "the run goes on"
            say(
                f"guard: held-out kNN {value:.1%} at step {step} has been below the start's "
                f"{start:.1%} for {self.below} probes; {end}, and best/ keeps step "
                f"{self.best.step}: lower the learning rate, or train less with adapt.train"
            )
        return self.settings.stop

    def state_dict(self) -> dict[str, Any]:
        """The best, the start, and how long the run has been below it."""
        kept = {"start": self.start, "below": self.below, "neighbors": self.neighbors}
        return {"best": self.best.state_dict(), **kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint."""
        self.best.load_state_dict(state_dict["best"])
        self.start, self.below = state_dict["start"], state_dict["below"]
        self.neighbors = state_dict["neighbors"]


def _change(step: int, start: dict[str, float], now: dict[str, float]) -> str:
    """What moved since the start, in a line.

    >>> start = {"rankme": 40.0, "spread": 0.8}
    >>> _change(30, start, {"rankme": 31.5, "spread": 0.75, "neighbor_overlap": 0.42})
    'guard: step 30: RankMe 40.0 -> 31.5, spread 0.80 -> 0.75, 42% of nearest neighbors kept'
    """
    return (
        f"guard: step {step}: RankMe {start['rankme']:.1f} -> {now['rankme']:.1f}, spread "
        f"{start['spread']:.2f} -> {now['spread']:.2f}, {now['neighbor_overlap']:.0%} of nearest "
        "neighbors kept"
    )
