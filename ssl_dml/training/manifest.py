"""What a checkpoint says of itself, which is believed once its digest holds."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ssl_dml.files import write_json

STATE, CONFIG, METADATA = "state.pt", "config.yaml", "checkpoint.json"
FORMAT = "ssl_dml checkpoint 2"
MOST_BYTES = 1 << 26


def write_metadata(place: Path, values: dict[str, Any]) -> None:
    """Write ``checkpoint.json`` with a digest of all that it says."""
    write_json(place / METADATA, {**values, "digest": _digest(values)})


def read_metadata(place: Path) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Raises:
        ValueError: Naming the file, if it is no checkpoint of this package, was changed, or does
            not list the files of a checkpoint.
    """
    path = place / METADATA
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MB")
        metadata = json.loads(path.read_text("utf-8") if path.is_file() else "")
        made_as, digest = metadata["format"], metadata.pop("digest", None)
        whole = digest == _digest(metadata) and _is_whole(metadata, place.name)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is missing or damaged: {place} is no checkpoint; remove "
            "it to go on from the one before"
        ) from error
    if made_as != FORMAT:
        raise ValueError(
            f"{path} has the format {made_as!r}, not {FORMAT!r}: resume it with the version that "
            f"made it, or start anew from its weights with --init {place / STATE}"
        )
    if not whole:
        raise ValueError(
            f"{path} differs from what was written: the checkpoint is damaged; remove {place} to "
            "go on from the one before"
        )
    return metadata


def _is_whole(metadata: dict[str, Any], name: str) -> bool:
    """Whether it is of this step, and lists each file that a checkpoint has and no other."""
    step, processes, files = (metadata.get(key) for key in ("step", "processes", "files"))
    if not isinstance(files, dict) or name != f"step_{step}" or type(step) is not int:
        return False
    if type(processes) is not int or not 1 <= processes <= len(files):
        return False
    generators = {f"generators_{rank}.pt" for rank in range(processes)}
    rows = {f"rows_{rank}.pt" for rank in range(processes)}
    needed = {STATE, CONFIG, *generators}
    return files.keys() in (needed, needed | rows)


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def step_of(place: Path) -> int | None:
    """The step in the name of a checkpoint; None if it is no name of one.

    >>> [step_of(Path(name)) for name in ("step_12", "step_012", "step_12.part", "step_x")]
    [12, None, None, None]
    """
    found = re.fullmatch(r"step_(0|[1-9][0-9]{0,17})", place.name)
    return int(found[1]) if found else None
