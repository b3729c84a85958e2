"""The files of a checkpoint."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from ssl_dml.reading import regular


def read(path: Path, *, mmap: bool = False) -> Any:  # noqa: ANN401
    """What torch saved in a file, without executing anything in it.

    Args:
        path: The file.
        mmap: Leave tensors on the disk until they are used.

    Raises:
        ValueError: Naming the file, if it is not one of those.
    """
    try:
        return torch.load(regular(path), map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many types on foreign files
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path} cannot be read as a checkpoint: {reason}") from error


def write(path: Path, state: Any) -> None:  # noqa: ANN401
    """Save and synchronize; torch hides a full disk behind a RuntimeError.

    Raises:
        OSError: If the disk is full.
    """
    try:
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(path.parent).free
        if isinstance(error, OSError) or free < 1 << 24:
            raise OSError(
                errno.ENOSPC,
                "no space left for a checkpoint; earlier ones are whole: free some space and go on "
                "with --resume true",
                str(path),
            ) from error
        raise
