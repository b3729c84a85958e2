"""What the folders above files mean: splits, classes, or nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from ssl_dml.data.split_names import (
    SplitNames,
    check_splits,
    listed,
    notes_on,
    printable,
    split_names,
)

STRAY = 0.2  # of the files; as many beside folders of classes, and the folders are no classes
Folders = tuple[str, ...]  # above a file, from the root


@final
@dataclass
class Files:
    """Files of a split, each with the folders that may name its class.

    Args:
        root: The folder that holds them all.
        paths: The files.
        folders: Folders between root and file, without those that name splits.
        notes: What was decided, a sentence each.
        tables: Whether the last of the folders is the name of a table, which says no class.
    """

    root: Path
    paths: list[Path]
    folders: list[Folders]
    notes: list[str] = field(default_factory=list)
    tables: bool = False

    @classmethod
    def below(cls, root: Path, paths: list[Path]) -> "Files":
        """Files with all folders between root and them."""
        depth = len(root.parts)
        return cls(root, paths, [path.parts[depth:-1] for path in paths])

    def keep(self, depth: int, names: Iterable[str]) -> "Files":
        """Those below folders of these names at a depth; the folders there say no more."""
        names = {*names}
        rows = [
            (path, folders[:depth] + folders[depth + 1 :])
            for path, folders in zip(self.paths, self.folders, strict=True)
            if len(folders) > depth and folders[depth] in names
        ]
        paths, folders = [path for path, _ in rows], [own for _, own in rows]
        return Files(self.root, paths, folders, tables=self.tables)


def divide(files: Files, *, split: str, inner: bool = False) -> tuple[Files | None, Files | None]:
    """Divide files into those to train on and those to test on, by the names of their folders.

    Folders of splits are looked for below folders that hold nothing but one other, and within
    each class.

    Args:
        files: The files.
        split: The split that is wanted.
        inner: Whether they are of a split already; then a class may be called folder-development.

    Returns:
        Both splits; None for one that is not there. Without folders of splits all is train.

    Raises:
        ConfigError: If folders of splits stand among others, or there are none to train on.
    """
    found = _split_level(files, split, inner)
    if found is None:
        return files, None
    depth, names = found
    train, test = None, files.keep(depth, names.test) if names.test else None
    notes = notes_on(names)
    if beside := sum(len(folders) <= depth for folders in files.folders):
        notes.append(f"{beside:,} files beside the folders of splits left out")
    if names.train:
        train, deeper = divide(files.keep(depth, names.train), split="train", inner=True)
        if train is not None:
            train.notes[:0] = notes
        test = test or deeper
    if test is not None:
        test.notes[:0] = notes
    return train, test


def class_labels(
    files: Files, like: Files | None = None
) -> tuple[list[int] | None, list[str], list[str]]:
    """Labels, class names and notes, if the files lie in folders of classes.

    Classes are looked for below folders that hold nothing but one other.

    Args:
        files: The files.
        like: Files whose classes lie as deep, if they have classes; of these files there may be
            one class only.
    """
    depth, names = _class_level(files.folders)
    fewest = 2
    if like is not None:
        theirs, classes = _class_level(like.folders)
        if len(classes) > 1 and theirs <= depth:
            depth, names, fewest = theirs, _names_at(files.folders, theirs), 1
    if len(names) < fewest:
        return None, [], []
    stray = sum(len(folders) <= depth for folders in files.folders)
    if stray > STRAY * len(files.folders):
        note = f"no labels: {stray:,} of {len(files.folders):,} files are beside the sub-folders"
        return None, [], [f"{note} {listed(names)}"]
    ids = {name: i for i, name in enumerate(names)}
    labels = [ids[own[depth]] if len(own) > depth else -1 for own in files.folders]
    notes = [f"{stray:,} files beside the sub-folders of classes are unlabeled"] if stray else []
    return labels, [printable(name) for name in names], notes


def _class_level(folders: list[Folders]) -> tuple[int, list[str]]:
    """The first depth with several folders, and their names; fewer if there is none."""
    depth = 0
    while len(names := _names_at(folders, depth)) == 1:
        depth += 1
    return depth, names


def _names_at(folders: list[Folders], depth: int) -> list[str]:
    return sorted({own[depth] for own in folders if len(own) > depth})


def _split_level(files: Files, split: str, inner: bool) -> tuple[int, SplitNames] | None:
    """Depth and names of folders of splits; None if there are none."""
    depth, parents = 0, files.root.parts
    while names := _names_at(files.folders, depth):
        found = split_names(names, loose=files.tables)
        # A folder that was named itself, such as test, may hold nothing but another test.
        again = len(names) == 1 and not found.train and _kind(parents[-1:]) in found.kinds.values()
        classes = inner and found.others and not found.train
        if found.kinds and not again and not classes:
            where = Path(*parents)
            example = f"{where / names[0]}*.parquet" if files.tables else str(where / names[0])
            check_splits(
                found,
                printable(str(where)),
                things="files" if files.tables else "sub-folders",
                remedy=f"name one of them, as in data.source {printable(example)!r}",
                split=split,
            )
            return depth, found
        if len(names) > 1:
            return _within_classes(files, depth, split)
        depth, parents = depth + 1, (*parents, *names)
    return None


def _kind(names: Sequence[str]) -> str | None:
    return next(iter(split_names(names).kinds.values()), None)


def _within_classes(files: Files, depth: int, split: str) -> tuple[int, SplitNames] | None:
    """Depth and names of folders of splits below each class, as in cat/train and cat/test."""
    inside: dict[str, set[str]] = {}
    for own in files.folders:
        if len(own) > depth:
            inside.setdefault(own[depth], set()).update(own[depth + 1 : depth + 2] or ("",))
    if not any(found.train and found.test for found in map(split_names, inside.values())):
        return None
    found = split_names(_names_at(files.folders, depth + 1))
    odd = [f"{name}/{n}" for name, own in inside.items() for n in own if n not in found.kinds]
    check_splits(
        SplitNames(found.kinds, sorted(odd)),
        printable(str(files.root)),
        things="folders within sub-folders",
        remedy="move them",
        split=split,
    )
    return depth + 1, found
