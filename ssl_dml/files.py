"""Files that are whole or not there."""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

# What file systems answer that synchronize no folders, such as network mounts.
REFUSALS = {
    *(errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
    *(errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM),
}


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where the machine stops."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as JSON, whole or not at all; see :func:`as_json`."""
    write_text(path, as_json(values, indent=2) + "\n")


def as_json(values: Any, *, indent: int | None = None) -> str:  # noqa: ANN401
    """JSON that every reader takes: a number that is NaN or infinite is null.

    >>> as_json({"a": [1.0, float("nan")]})
    '{"a": [1.0, null]}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(values: Any) -> Any:  # noqa: ANN401
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def synchronize(folder: Path) -> None:
    """Put the names in a folder on the disk, where its file system does that for folders.

    Raises:
        OSError: If the disk fails; not if the file system only refuses.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
