"""The folder of a run: who may write into it, and what it says of the run."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from ssl_dml.config import ConfigError

# Keys that may differ when a run goes on without it being another run.
FREE = ("resume", "config", "output_dir")


def refuse_existing(folder: Path, *, resume: bool) -> None:
    """Keep a new run out of a folder that holds something.

    Raises:
        ConfigError: If there is something in the folder and it is not to be resumed.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output_dir {str(folder)!r} is a file; name a folder")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"output_dir {str(folder)!r} exists already; name another with --output_dir, or go on "
            "with --resume true"
        )


def open_run(folder: Path, resolved: str) -> None:
    """Make the folder and write ``config.yaml``; say what differs from the run's beginning.

    Args:
        folder: The run folder.
        resolved: The run's configuration as YAML.
    """
    path = folder / "config.yaml"
    if path.exists():
        changes = _changes(yaml.safe_load(path.read_text()), yaml.safe_load(resolved))
        if changes:
            words = "; ".join(changes)
            print(
                f"going on with other settings than the run began with: {words} (what the "
                "optimizer and its schedule have saved stays as it was)",
                file=sys.stderr,
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, re.sub(r"(?m)^resume: true$", "resume: false", resolved))


def write_json(path: Path, metadata: dict[str, Any]) -> None:
    """Write a file of metadata whole or not at all."""
    write_text(path, json.dumps(metadata, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text)
    beside.replace(path)


def config_for(args: list[str], default: Path) -> Path:
    """The YAML a command line starts from when it names none.

    A run that is resumed goes on with its own; every other takes ``default``.
    """
    values: dict[str, str] = {}
    for position, arg in enumerate(args):
        name, _, value = arg.partition("=")
        following = args[position + 1] if position + 1 < len(args) else ""
        values[name] = value or following
    if values.get("--resume", "false").lower() != "true":
        return default
    folder = values.get("--output_dir") or yaml.safe_load(default.read_text())["output_dir"]
    own = Path(folder) / "config.yaml"
    if own.exists():
        return own
    if "--config" not in values:
        print(f"nothing to resume in {folder}: a new run by {default}", file=sys.stderr)
    return default


def _changes(before: Any, after: Any, prefix: str = "") -> list[str]:  # noqa: ANN401
    """Keys whose value differs, as ``key old -> new``."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [f"{prefix.rstrip('.')} {before} -> {after}"]
    found: list[str] = []
    for key in sorted({*before, *after}):
        if prefix or key not in FREE:
            found += _changes(before.get(key), after.get(key), f"{prefix}{key}.")
    return found
