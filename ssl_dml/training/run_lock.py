"""The lock that a run keeps on its folder; it vanishes with the process, however that ends."""

import fcntl
import os
import platform
import sys
from pathlib import Path
from typing import final

from ssl_dml.files import locked
from ssl_dml.types import ConfigError

LOCK = "run.lock"
# A link in its place, which may lead anywhere, is an error.
OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK


@final
class RunLock:
    """An exclusive lock of the operating system on a file in the run folder.

    The folder is made if there is none. Processes that this one forks, such as the workers of a
    loader, do not keep the lock. A file system without locks is warned of, and the run goes on.

    Args:
        folder: The run folder, or that of a table.
        key: Names it on the command line.

    Raises:
        ConfigError: If another process has the lock; nothing in the folder is changed then.
    """

    def __init__(self, folder: Path, key: str = "output_dir") -> None:
        self.path, self.key = folder / LOCK, key
        self.made = [place for place in (folder, *folder.parents) if not place.exists()]
        self.descriptor: int | None = None
        while self.descriptor is None:
            self.descriptor = self._take()
        os.ftruncate(self.descriptor, 0)
        holder = f"process {os.getpid()} on host {platform.node()}\n"
        os.pwrite(self.descriptor, holder.encode(), 0)
        os.register_at_fork(after_in_child=self._close)

    def release(self) -> None:
        """Remove the file, and those folders that were made for it and are empty."""
        if self.descriptor is None:
            return
        self.path.unlink(missing_ok=True)
        self._close()
        try:
            for place in self.made:
                place.rmdir()
        except OSError:
            pass  # it is not empty

    def _take(self) -> int | None:
        """The locked file; None where a run that was ending has removed it meanwhile."""
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, OPEN, 0o666)
        except FileNotFoundError:
            return None
        except FileExistsError:
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            return None
        where = f"{self.key} {str(folder)!r}"
        return locked(descriptor, self.path, lambda: _lock(descriptor, where, self.key))

    def _close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def in_use(folder: Path) -> bool:
    """Whether a process has the lock of a run folder; nothing in it is changed."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, what: str, key: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise ConfigError(
            f"{what} is in use by {holder or 'another process'}; wait for it, or name another "
            f"with --{key}"
        ) from None
    except OSError as error:
        print(
            f"warning: {what} is on a file system that refuses locks "
            f"({error.strerror}); let no other run write into it",
            file=sys.stderr,
        )
