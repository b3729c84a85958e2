"""The folder of a run: who may write into it, and what it says of the run."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_dml.config import parse
from ssl_dml.distributed import broadcast_object, rank
from ssl_dml.files import is_part, remove_leftovers, write_text
from ssl_dml.training.resuming import changes_between
from ssl_dml.training.run_lock import LOCK, RunLock
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import read_yaml, to_yaml

# Keys that may differ when a run goes on without it being another run.
FREE = ("resume", "config", "output_dir")


@contextmanager
def claim(folder: Path, *, resume: bool) -> Iterator[None]:
    """A run folder that no other run writes into, until this one ends.

    The main process has the lock, and all processes are told if it cannot have it.

    Args:
        folder: The run folder; made if there is none.
        resume: Whether it may hold something.

    Raises:
        ConfigError: If another process is at work in the folder, or :func:`refuse_existing` does.
        OSError: If the folder cannot be made or written into.
    """
    with locked(folder, "output_dir", lambda: refuse_existing(folder, resume=resume)):
        yield


@contextmanager
def locked(folder: Path, key: str, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A folder that no other process of another command writes into; see :func:`claim`.

    Args:
        folder: Made if there is none.
        key: Names it on the command line.
        check: Raises if it cannot be used; called with the lock held.
    """
    lock: RunLock | None = None
    problem: ConfigError | OSError | None = None
    try:
        if rank() == 0:
            try:
                if folder.exists() and not folder.is_dir():
                    raise ConfigError(f"{key} {str(folder)!r} is a file; name a folder")
                lock = RunLock(folder, key)
                check()
                remove_leftovers(folder)
            except (ConfigError, OSError) as error:
                problem = error
        problem = broadcast_object(problem)
        if problem is not None:
            raise problem
        yield
    finally:
        if lock is not None:
            lock.release()


def refuse_existing(folder: Path, *, resume: bool) -> None:
    """Keep a new run out of a folder that holds something.

    Raises:
        ConfigError: If there is something in the folder and it is not to be resumed.
    """
    held = folder.iterdir() if folder.exists() else ()
    if not resume and any(path.name != LOCK and not is_part(path) for path in held):
        raise ConfigError(
            f"output_dir {str(folder)!r} exists already; name another with --output_dir, or go on "
            "with --resume true"
        )


def write_config(folder: Path, values: dict[str, Any], *, since: Path | None = None) -> None:
    """Make the folder and write ``config.yaml``; say what differs from what the run had.

    Args:
        folder: The run folder.
        values: The run's configuration as plain values.
        since: Folder of the configuration to compare with, such as a checkpoint; None for the run
            folder.

    Raises:
        ConfigError: If there is a ``config.yaml`` that cannot be read.
    """
    path, former = folder / "config.yaml", (since or folder) / "config.yaml"
    before = read_yaml(former) if former.exists() else values
    changes = changes_between(_without_free(before), _without_free(values))
    if changes:
        said = "; ".join(f"{key} {old} -> {new}" for key, (old, new) in changes.items())
        print(f"continuing with other settings than the run had: {said}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, to_yaml({**values, "resume": False}))


def _without_free(values: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Values beside those of the keys that may always differ."""
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if key not in FREE}


def read_config(folder: Path, schema: type, packages: Iterable[str] | None = ()) -> dict[str, Any]:
    """What a run was configured with, as plain values with today's defaults for newer keys.

    Args:
        folder: The run folder, or a checkpoint.
        schema: The run's configuration.
        packages: Packages beside the known ones whose components it may name; None for any.

    Raises:
        ConfigError: If there is a ``config.yaml`` that cannot be read.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    return _without_free(parse(schema, [f"--config={path}"], packages=packages)[1])
