"""Files that are whole or not there."""

import errno
import json
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
    """Write plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")


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
