"""Folders of files: what lies below them, their splits and their labels."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ssl_dml.config import ConfigError
from ssl_dml.data.images import HINTS, MAX_PIXELS, SUFFIXES, is_image, read_file
from ssl_dml.data.known import LEAST, Known, Paths, names_below, place_of, recall, remember
from ssl_dml.data.layout import Files, class_labels, divide
from ssl_dml.data.sources import RawImage, Source, fingerprint
from ssl_dml.data.split_names import printable
from ssl_dml.data.walk import Found, find_files, suffix_of
from ssl_dml.progress import say
from ssl_dml.types import one_line

AUDIO_SUFFIXES = frozenset([".flac", ".wav"])
METADATA = ("class_names", "fingerprint", "stamp", "notes", "labeled_by")


@final
@dataclass(frozen=True, kw_only=True)
class LabeledFiles:
    """Files of one split, and what is known of them.

    Args:
        paths: The files.
        labels: As in :class:`~ssl_dml.data.sources.Source`, with ``class_names``.
        fingerprint: See there, with ``stamp``, ``notes`` and ``labeled_by``.
    """

    paths: Sequence[Path]
    labels: list[int] | None
    class_names: list[str]
    fingerprint: str
    stamp: str
    notes: list[str]
    labeled_by: str

    @classmethod
    def below(
        cls,
        root: Path,
        split: str = "train",
        *,
        wanted: Callable[[Path], bool],
        hints: dict[str, str],
        use_splits: bool = False,
        memory: "Memory | None" = None,
    ) -> "LabeledFiles | None":
        """Find the files of a split.

        Args:
            root: The folder.
            split: ``"train"`` or ``"test"``.
            wanted: Whether a path is one of the files.
            hints: What to do about files of a suffix that is left out.
            use_splits: Whether sub-folders such as train and test are splits.
            memory: Where what is found is kept for the next time; None to keep nothing.

        Returns:
            The files; none if there is no such split.
        """
        began_ns = time.time_ns()
        found = find_files(root, wanted)
        files = cls._of_split(root, split, found, hints=hints, use_splits=use_splits)
        if memory is not None:
            memory.keep(files, found, began_ns)
        return files

    @classmethod
    def _of_split(
        cls, root: Path, split: str, found: Found, *, hints: dict[str, str], use_splits: bool
    ) -> "LabeledFiles | None":
        files = Files.below(root, found.paths)
        train, test = divide(files, split=split) if use_splits else (files, None)
        mine, like = (train, None) if split == "train" else (test, train)
        if mine is None:
            return None
        labels, names, more = class_labels(mine, like)
        copy, here = fingerprint(mine.root, mine.paths)
        return cls(
            paths=mine.paths,
            labels=labels,
            class_names=names,
            fingerprint=copy,
            stamp=here,
            notes=[*mine.notes, *found.notes(hints), *more],
            labeled_by="sub-folders" if labels else "",
        )


@final
class Memory:
    """What was found below a folder of at least 10,000 files, kept for the next time.

    Args:
        root: The folder.
        split: ``"train"`` or ``"test"``.
        use_splits: Whether sub-folders such as train and test are splits.
        cache_dir: Folder of what is kept between runs.
        audio: Whether the files are audio, not images.
    """

    def __init__(
        self, root: Path, split: str, *, use_splits: bool, cache_dir: Path, audio: bool = False
    ) -> None:
        self.root = root
        rules = (sorted(AUDIO_SUFFIXES), {}) if audio else (sorted(SUFFIXES), HINTS)
        self.place = place_of(cache_dir, root, split, use_splits, *rules)

    def known(self) -> "tuple[LabeledFiles | None] | None":
        """The files of the split, or None for no such split; None alone if they must be found."""
        if (known := recall(self.place, self.root)) is None:
            return None
        if known.metadata is None:
            return (None,)
        paths = Paths(self.root, known.names)
        return (LabeledFiles(paths=paths, labels=known.labels, **known.metadata),)

    def keep(self, files: LabeledFiles | None, found: Found, began_ns: int) -> None:
        """Keep what was found, on the first process of a machine.

        Nothing is kept of a folder with links that were not followed: where they lead may change.
        """
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        if not first or found.loops or len(found.paths) < LEAST:
            return
        names, labels, metadata = list[str](), None, None
        if files is not None:
            names, labels = names_below(self.root, files.paths), files.labels
            metadata = {key: getattr(files, key) for key in METADATA}
        known = Known(names=names, labels=labels, metadata=metadata)
        more = {"folders": found.folders, "unsure": found.unsure, "began_ns": began_ns}
        try:
            remember(self.place, self.root, known, **more)
        except OSError as error:
            reason = error.strerror or one_line(error)
            say(f"the files below {printable(str(self.root))} are looked for again: {reason}")


@final
class FolderSource(Source):
    """All images below a folder, sorted by path.

    Args:
        root: The folder.
        files: The images of a split; None for all.
        max_pixels: An image of more pixels is damaged.

    Raises:
        ConfigError: If there is no image.
    """

    def __init__(
        self, root: Path, files: LabeledFiles | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> None:
        files = files or images_below(root)
        if files is None or not files.paths:
            raise ConfigError(_no_image(root, files))
        self.paths, self.notes = files.paths, files.notes
        self.labels, self.class_names = files.labels, files.class_names
        self.fingerprint, self.stamp = files.fingerprint, f"{files.stamp}:{max_pixels}"
        self._max_pixels = max_pixels
        self.labeled_by = files.labeled_by

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        return read_file(self.paths[index], self._max_pixels)

    def name(self, index: int) -> str:  # noqa: D102
        return printable(str(self.paths[index]))


def images_below(
    root: Path, split: str = "train", *, use_splits: bool = False, memory: Memory | None = None
) -> LabeledFiles | None:
    """Find the images of a split; none if there is no such split."""
    given = {"use_splits": use_splits, "memory": memory}
    return LabeledFiles.below(root, split, wanted=is_image, hints=HINTS, **given)


def audio_below(
    root: Path, split: str = "train", *, use_splits: bool = False, memory: Memory | None = None
) -> LabeledFiles | None:
    """Find the audio files of a split; none if there is no such split."""
    given = {"use_splits": use_splits, "memory": memory}
    return LabeledFiles.below(root, split, wanted=is_audio, hints={}, **given)


def is_audio(path: Path) -> bool:
    """Whether a file is audio by its suffix."""
    return suffix_of(path) in AUDIO_SUFFIXES


def _no_image(root: Path, files: LabeledFiles | None) -> str:
    audio = audio_below(root)
    hint = "it holds audio: set data.sequences, as in --data.sequences.sampling_rate 16000"
    more = [*(files.notes if files else ()), *([hint] if audio and audio.paths else ())]
    return (
        f"data.source {printable(str(root))!r} holds no image; looked below it for "
        f"{'; '.join([' '.join(sorted(SUFFIXES)), *more])}"
    )
