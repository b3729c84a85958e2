"""Find the files below a folder: links are followed, loops caught, and what is left out counted."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from ssl_dml.config import ConfigError
from ssl_dml.data.split_names import listed, printable

SYSTEM_FOLDERS = frozenset(["__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN"])
# Other endings, such as that of "photo.2019" or "v1.0 final", belong to the name.
SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9_]{0,7}")
NO_SUFFIX = "without suffix"


@final
@dataclass
class Found:
    """Files below a folder.

    Args:
        paths: The files that were wanted, sorted.
        left_out: Number of other files by suffix.
        loops: Links that were not followed, since they lead back to a folder above or to one
            that was read already.
        folders: The folders that were read.
        unsure: Files that were not wanted and have no suffix to tell so.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    unsure: list[Path] = field(default_factory=list)

    def notes(self, hints: dict[str, str]) -> list[str]:
        """Sentences on what was left out, for the user.

        Args:
            hints: What to do about files of a suffix.
        """
        notes: list[str] = []
        if self.left_out:
            parts = [
                f"{count:,} {suffix}{f' ({hints[suffix]})' if suffix in hints else ''}"
                for suffix, count in sorted(self.left_out.items(), key=lambda x: (-x[1], x[0]))
            ]
            notes.append(f"files left out: {listed(parts)}")
        if self.loops:
            notes.append(f"links left out, to folders read already: {listed(self.loops)}")
        return notes


def find_files(root: Path, wanted: Callable[[Path], bool]) -> Found:
    """Find the wanted files below a folder; hidden ones and folders of systems are skipped.

    A link to a file that is gone is found too: reading it will report it by name.

    Raises:
        ConfigError: If a folder cannot be opened.
    """
    found = Found()
    for path in _walk(root, root, [os.path.realpath(root)], None, found):
        if wanted(path):
            found.paths.append(path)
            continue
        suffix = suffix_of(path)
        found.left_out[suffix or NO_SUFFIX] += 1
        if not suffix:
            found.unsure.append(path)
    found.paths.sort()
    return found


def any_below(root: Path, wanted: Callable[[Path], bool]) -> bool:
    """Whether there is a wanted file below a folder."""
    return any(map(wanted, _walk(root, root, [os.path.realpath(root)], None, Found())))


def suffix_of(path: Path) -> str:
    """Suffix in lower case; empty if the name has none.

    >>> suffix_of(Path("a.JPG")), suffix_of(Path("photo.2019"))
    ('.jpg', '')
    """
    return path.suffix.lower() if SUFFIX.fullmatch(path.suffix) else ""


def _walk(
    root: Path, folder: Path, above: list[str], linked: set[str] | None, found: Found
) -> Iterator[Path]:
    """Yield the files below a folder.

    Args:
        root: Where the walk began.
        folder: Where it is.
        above: Real paths of the folders from root to here.
        linked: Real paths of the folders read since a link was followed, each of which is read
            once; None before a link.
        found: Folders, and links that were not followed, are added to it.
    """
    found.folders.append(folder)
    for entry in _entries(root, folder):
        path = folder / entry.name
        if not _is_folder(entry):
            if _is_readable(entry):
                yield path
            continue
        real = os.path.realpath(path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
        leads_back = any(place == real or place.startswith(f"{real}/") for place in above)
        if leads_back or real in (linked or ()):
            found.loops.append(str(path.relative_to(root)))
            continue
        within = set() if linked is None and entry.is_symlink() else linked
        if within is not None:
            within.add(real)
        yield from _walk(root, path, [*above, real], within, found)


def _entries(root: Path, folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name."""
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if e.name[0] != "." and e.name not in SYSTEM_FOLDERS]
    except OSError as error:
        raise ConfigError(
            f"data.source {printable(str(root))!r}: the folder {printable(str(folder))} cannot be "
            f"opened: {error.strerror}; make it readable, or move it elsewhere"
        ) from error
    return sorted(found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112


def _is_readable(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file or a link to one that is gone; a pipe or a socket would block."""
    if not entry.is_symlink():
        return entry.is_file()
    return os.path.isfile(entry.path) or not os.path.exists(entry.path)  # noqa: PTH110, PTH113
