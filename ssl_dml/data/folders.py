"""Folders of files: what lies below them, their splits and their labels."""

import os
from collections.abc import Container
from pathlib import Path
from typing import final

import numpy as np
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.sources import RawImage, Source, fingerprint

IMAGE_TYPES = "bmp gif jpeg jpg jp2 npy pbm pgm png pnm ppm tif tiff webp"
SUFFIXES = frozenset(f".{name}" for name in IMAGE_TYPES.split())
AUDIO_SUFFIXES = frozenset([".flac", ".wav"])
TEST_FOLDERS = ("test", "val", "valid", "validation")


@final
class FolderSource(Source):
    """All images below a folder, sorted by path.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.paths = files_below(root, SUFFIXES)
        if not self.paths:
            audio = files_below(root, AUDIO_SUFFIXES)
            hint = "it holds audio: set data.sequences, as in --data.sequences.sampling_rate 16000"
            raise ConfigError(
                f"data.source {str(root)!r} holds no image; looked below it for "
                f"{' '.join(sorted(SUFFIXES))}{f'; {hint}' if audio else ''}"
            )
        self.labels, self.class_names = folder_labels(root, self.paths)
        self.labeled_by = "sub-folders" if self.labels else ""
        self.fingerprint, self.stamp = fingerprint(root, self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        path = self.paths[index]
        return np.load(path, allow_pickle=False) if path.suffix == ".npy" else Image.open(path)

    def name(self, index: int) -> str:  # noqa: D102
        return str(self.paths[index])


def split_folder(path: Path, split: str) -> Path | None:
    """Sub-folder of a split if there is one called train; otherwise the whole folder is train."""
    names = ("train",) if split == "train" else TEST_FOLDERS
    inside = next((path / name for name in names if (path / name).is_dir()), None)
    if inside is not None and (path / "train").is_dir():
        return inside
    return path if split == "train" else None


def files_below(root: Path, suffixes: Container[str]) -> list[Path]:
    """Find files with one of these suffixes, sorted by path; skip hidden ones."""
    found: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [
            Path(folder) / name
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def folder_labels(root: Path, paths: list[Path]) -> tuple[list[int] | None, list[str]]:
    """Labels and class names, if every file lies in one of at least two sub-folders."""
    inside = [path.relative_to(root).parts for path in paths]
    names = sorted({parts[0] for parts in inside})
    if len(names) == 1 or any(len(parts) == 1 for parts in inside):
        return None, []
    ids = {name: i for i, name in enumerate(names)}
    return [ids[parts[0]] for parts in inside], names
