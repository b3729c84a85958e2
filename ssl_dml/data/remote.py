"""Copy files that an address names into the cache, once, through fsspec."""

import hashlib
import time
from pathlib import Path
from typing import Any

import fsspec
from filelock import FileLock

from ssl_dml.config import ConfigError
from ssl_dml.offline import offline
from ssl_dml.progress import progress, say
from ssl_dml.reading import reading
from ssl_dml.types import one_line

BLOCK = 2**20
PATTERN = "*?["
TRIES, WAIT_S = 3, 1.0


def is_remote(where: str) -> bool:
    """Whether a source is an address such as ``https://`` or ``s3://``.

    >>> is_remote("s3://bucket/train-*.parquet"), is_remote("~/images"), is_remote("user/name")
    (True, False, False)
    """
    protocol, found, _ = where.partition("://")
    return bool(found) and protocol.isalnum()


def copied(where: str, cache_dir: Path) -> Path:
    """Copy the files of an address into the cache, unless they are there, and say where.

    Several processes of a machine wait for the one that copies. A copy that was cut off is begun
    again; files that are whole stay.

    Args:
        where: Address of a file, or of several by a pattern such as ``s3://x/train-*.parquet``.
        cache_dir: Folder of the cache.

    Returns:
        The file, or the folder of several.

    Raises:
        ConfigError: If the protocol needs a package, nothing is there, or it cannot be read.
    """
    folder = cache_dir / "remote" / hashlib.sha256(where.encode()).hexdigest()[:24]
    name = where.rpartition("/")[2]
    if offline() and not where.startswith("file:"):
        if (folder / name).is_file():  # of several, some may be lacking
            return folder / name
        raise ConfigError(
            f"data.source {where!r} is not in the cache, and HF_HUB_OFFLINE is set; unset it once"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")), reading(f"data.source {where!r}"):
        try:
            files, paths = fsspec.url_to_fs(where)
            several = any(mark in name for mark in PATTERN)
            found = sorted(map(str, files.glob(paths))) if several else [paths]
            if not found:
                raise ConfigError(f"data.source {where!r}: there is no such file")
            names = [path.rpartition("/")[2] for path in found]
            sizes = [int(files.info(path).get("size") or 0) for path in found]
            for path, own, size in zip(found, names, sizes, strict=True):
                _copy(files, path, folder / own, size)
        except ImportError as error:
            raise ConfigError(
                f"data.source {where!r} needs a package: {one_line(error)}"
            ) from error
    return folder if several else folder / names[0]


def _copy(files: Any, path: str, target: Path, size: int) -> None:  # noqa: ANN401 - untyped
    """Copy a file under another name, then rename it."""
    if target.exists() and size in (0, target.stat().st_size):  # 0 where it is not told
        return
    partial = target.with_name(f"{target.name}.part")
    for left in reversed(range(TRIES)):
        try:
            with (
                files.open(path, "rb") as remote,
                partial.open("wb") as local,
                progress(size, f"copying {target.name}", "bytes") as bar,
            ):
                while block := remote.read(BLOCK):
                    local.write(block)
                    bar.update(len(block))
        except OSError as error:
            if not left or isinstance(error, FileNotFoundError):
                raise
            time.sleep(WAIT_S)
        else:
            break
    if size and partial.stat().st_size != size:
        raise OSError(f"{target.name} ended after {partial.stat().st_size:,} of {size:,} bytes")
    partial.rename(target)
    say(f"copied {target.name} to {target.parent}")
