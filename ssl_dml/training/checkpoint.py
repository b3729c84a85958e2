"""Full training state in folders that are whole or not there."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from ssl_dml.distributed import broadcast_object, gather_object, rank, world_size
from ssl_dml.files import remove, synchronize, write_text
from ssl_dml.memory import cut_rows, split_rows
from ssl_dml.reading import digest
from ssl_dml.stops import NonFiniteError
from ssl_dml.training.files import read, write
from ssl_dml.training.manifest import (
    CONFIG,
    FORMAT,
    STATE,
    read_metadata,
    step_of,
    write_metadata,
)
from ssl_dml.training.rng_state import restore, rng_state
from ssl_dml.training.splitting import fitted_state, whole_state
from ssl_dml.types import one_line, shown
from ssl_dml.yaml_text import to_yaml

# What loading raises where a state is of something else.
MISFITS = (RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError)


@runtime_checkable
class Stateful(Protocol):
    """Anything whose state can be taken out and put back."""

    def state_dict(self) -> Any:  # noqa: ANN401
        """The state, as what torch can save."""

    def load_state_dict(self, state_dict: Any, /) -> Any:  # noqa: ANN401
        """Take the state of another."""


@final
class Checkpoints:
    """The folder of a run's checkpoints, ``step_N`` each.

    A checkpoint is written beside its place, synchronized to the disk and renamed, so a kill at
    any instant leaves the earlier ones whole. It is read with ``weights_only``, so nothing in it
    is executed, after every file was compared with its digest.

    Args:
        folder: Where they are; seen by every process.
        keep: Newest ones that stay.
        config: The configuration of the run, of which each keeps a copy.
    """

    def __init__(self, folder: Path, *, keep: int, config: dict[str, Any] | None = None) -> None:
        self.folder, self.keep, self.config = folder, keep, config

    def newest(self) -> Path | None:
        """The checkpoint of the highest step; None if there is none."""
        return next(reversed(self._all()), None)

    def save(self, step: int, parts: dict[str, Stateful], metadata: dict[str, Any]) -> Path:
        """Write the state of every part and of every process's generators.

        Rows of a table that is split over processes are written by the one that owns them. Split
        weights of networks are put together, and written by the first.

        Args:
            step: Updates made so far.
            parts: What has a state, by name; one is the ``model``.
            metadata: Plain values to compare or show when it is read.

        Raises:
            OSError: If the disk is full; earlier checkpoints stay.
            NonFiniteError: If a weight is not finite; nothing is written.
        """
        place = self.folder / f"step_{step}"
        if place.exists():
            return place
        part = self.folder / f"step_{step}.part"
        if rank() == 0:
            self._tidy()
            part.mkdir(parents=True)
        broadcast_object(None)  # the folder is there before anybody writes into it
        state = {name: whole_state(item) for name, item in parts.items()}
        split = split_rows(parts["model"])
        _refuse_non_finite(step, split)
        own = {f"generators_{rank()}.pt": rng_state()}
        if split:
            own[f"rows_{rank()}.pt"] = split
        if rank() == 0:
            own[STATE] = state
            _refuse_non_finite(step, own[STATE]["model"])
            own[STATE]["model"] = {n: v for n, v in own[STATE]["model"].items() if n not in split}
        for name, state in own.items():
            write(part / name, state)
        # Alike on every process, so that what is gathered has one length.
        everyones = gather_object({n: digest(part / n) for n in own if n != STATE})
        if rank() == 0:
            write_text(part / CONFIG, to_yaml(self.config or {}))
            files = {name: digest(part / name) for name in (STATE, CONFIG)}
            files |= {name: found for theirs in everyones for name, found in theirs.items()}
            about = {"format": FORMAT, "step": step, "processes": world_size(), "files": files}
            write_metadata(part, {**metadata, **about})
            synchronize(part)
            part.rename(place)
            synchronize(self.folder)
            self._tidy()
        broadcast_object(None)
        return place

    def _load(self, place: Path, saved: dict[str, Any], parts: dict[str, Stateful]) -> None:
        """Put the state of every part back, once every file is found to be what was written."""
        for name, expected in saved["files"].items():
            _compare(place / name, expected)
        state = read(place / STATE)
        tables = [f"rows_{r}.pt" for r in range(saved["processes"])]
        tables = [place / name for name in tables if name in saved["files"]]
        for name, item in parts.items():
            try:
                if name == "model":
                    cut_rows(item, state[name], [read(path, mmap=True) for path in tables])
                else:
                    _compare_numbers(item.state_dict(), state[name], name)
                item.load_state_dict(fitted_state(item, state[name]))
            except MISFITS as error:
                reason = one_line(error, words=60)
                raise ValueError(f"{place / STATE} does not fit this {name}: {reason}") from error

    def check(self, place: Path, metadata: dict[str, Any]) -> dict[str, Any]:
        """What a checkpoint says of itself, if it is of this run.

        Raises:
            ValueError: Naming it, if it is damaged, foreign or of another run.
        """
        saved = read_metadata(place)
        _compare(place / CONFIG, saved["files"][CONFIG])
        for name, value in metadata.items():
            if saved.get(name) != value:
                raise ValueError(
                    f"{place} was made with {name} {saved.get(name)} and this run has {value}; go "
                    "on with what it was made with, or start anew from its weights with --init "
                    f"{self.folder.parent} --output_dir ANOTHER"
                )
        return saved

    def resume(
        self, parts: dict[str, Stateful], metadata: dict[str, Any], *, say: Callable[[str], Any]
    ) -> int:
        """Go on from the newest checkpoint: put everything back and return its step, 0 without.

        Args:
            parts: What has a state, by name.
            metadata: What must be as it was when it was saved.
            say: Told where the run goes on, and when that is not bit for bit.

        Raises:
            ValueError: Naming the file, if it is damaged, foreign, or of another run or network.
        """
        place = self.newest()
        if place is None:
            say(f"no checkpoint in {self.folder}: starting at step 0")
            return 0
        saved = self.check(place, metadata)
        self._load(place, saved, parts)
        if saved["processes"] == world_size():
            path = place / f"generators_{rank()}.pt"
            try:
                restore(read(path))
            except MISFITS as error:
                raise ValueError(f"{path} holds no generators: {one_line(error)}") from error
            say(f"going on from {place}")
        else:
            torch.manual_seed(int(torch.initial_seed()) + saved["step"])
            say(
                f"going on from {place}, made by {saved['processes']} processes, with "
                f"{world_size()}: the same batches, but not bit for bit the same run"
            )
        if rank() == 0:
            self._tidy()
        return saved["step"]

    def _tidy(self) -> None:
        """Remove what kills and full disks have left, and all but the newest checkpoints."""
        for old in self._all()[: -self.keep]:
            old.rename(old.with_name(f"{old.name}.part"))  # half removed, it is no checkpoint
        for left in self.folder.glob("step_*.part"):
            remove(left)

    def _all(self) -> list[Path]:
        found = {path: step_of(path) for path in self.folder.glob("step_*")}
        steps = {path: step for path, step in found.items() if step is not None}
        return sorted(steps, key=steps.__getitem__)


def _compare_numbers(own: Any, given: Any, at: str) -> None:  # noqa: ANN401
    """Raise where a state has text, NaN or infinity, and that of this run a finite number."""
    if isinstance(own, dict) and isinstance(given, dict):
        for key in own.keys() & given.keys():
            _compare_numbers(own[key], given[key], f"{at}.{key}")
    elif isinstance(own, list | tuple) and isinstance(given, list | tuple):
        for index, (one, other) in enumerate(zip(own, given, strict=False)):
            _compare_numbers(one, other, f"{at}[{index}]")
    elif isinstance(own, int | float) and math.isfinite(own):
        number = isinstance(given, int | float) and math.isfinite(given)
        if not number:
            raise ValueError(f"{at} must be a finite number, got {shown(given)}")


def _compare(path: Path, expected: str) -> None:
    """Raise if a file of a checkpoint is not what was written."""
    if not path.is_file() or digest(path) != expected:
        state = "differs from what was written" if path.is_file() else "is missing"
        raise ValueError(
            f"{path} {state}: the checkpoint is damaged; remove {path.parent} to go on from the "
            "one before"
        )


def _refuse_non_finite(step: int, state: dict[str, Tensor]) -> None:
    for name, value in state.items():
        # NaN is how NPID marks a normalizer that is not yet known.
        if value.is_floating_point() and value.ndim and not value.isfinite().all():
            raise NonFiniteError(f"step {step}: {name} is not finite; no checkpoint was written")
