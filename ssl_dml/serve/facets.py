"""Classes and folders of the rows of an index, to filter by."""

from collections.abc import Callable
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

BLOCK = 1 << 16
MOST_LISTED = 5000  # names that the page offers


@runtime_checkable
class Named(Protocol):
    """What is known of a row."""

    id: int
    path: str
    label: int
    class_name: str | None


def class_of(row: Named) -> str | None:
    """Name of the class of a row, its number if it has none, None if it is unlabeled."""
    if row.class_name is not None:
        return row.class_name
    return str(row.label) if row.label >= 0 else None


def folder_of(row: Named) -> str:
    """The folder of a row, without the file; "" at the top."""
    return row.path.rpartition("/")[0]


@final
class Facets:
    """Which rows are of which class, and in which folder.

    Args:
        ids: All rows of the index.
        rows: What is known of some.

    Attributes:
        ids: All rows, ascending.
        classes: Names of the classes, the most frequent first.
        folders: Folders and those above them, in order of the alphabet.
    """

    def __init__(
        self, ids: Int[Tensor, " rows"], rows: Callable[[Int[Tensor, " some"]], list[Named]]
    ) -> None:
        self.ids = ids.sort().values
        classes, folders = dict[str | None, int](), dict[str, int]()
        found = torch.empty(2, len(ids), dtype=torch.int32)
        for first in range(0, len(ids), BLOCK):
            some = rows(self.ids[first : first + BLOCK])
            own = [classes.setdefault(class_of(row), len(classes)) for row in some]
            where = [folders.setdefault(folder_of(row), len(folders)) for row in some]
            found[:, first : first + BLOCK] = torch.tensor([own, where], dtype=torch.int32)
        self._class, self._folder = found
        self._classes, self._folders = classes, folders
        counts = torch.bincount(self._class, minlength=len(classes)).tolist()
        named = [name for name in classes if name is not None]
        self.classes = sorted(named, key=lambda name: (-counts[classes[name]], name))
        above = {parent for folder in folders for parent in _upwards(folder)}
        self.folders = sorted(above) if len(above) > 1 else []

    def __contains__(self, id: int) -> bool:
        """Whether the index has a row."""
        if not 0 <= id < 1 << 63:
            return False
        place = int(torch.searchsorted(self.ids, id))
        return place < len(self.ids) and int(self.ids[place]) == id

    def places(self, ids: Int[Tensor, " some"]) -> Int[Tensor, " some"]:
        """Where rows of the index are in :attr:`ids`."""
        return torch.searchsorted(self.ids, ids)

    def mask(self, class_name: str | None, folder: str | None) -> Bool[Tensor, " rows"] | None:
        """Which rows are of a class and in a folder or below; None if both are any.

        Raises:
            ValueError: If there is no such class or folder.
        """
        masks = list[Tensor]()
        if class_name is not None:
            if class_name not in self._classes:
                raise ValueError(f"there is no class {class_name[:80]!r}")
            masks.append(self._class == self._classes[class_name])
        if folder is not None:
            below = [n for name, n in self._folders.items() if folder in _upwards(name)]
            if not below:
                raise ValueError(f"there is no folder {folder[:80]!r}")
            masks.append(torch.isin(self._folder, torch.tensor(below, dtype=torch.int32)))
        return torch.stack(masks).all(dim=0) if masks else None


def _upwards(folder: str) -> list[str]:
    """A folder and those above it.

    >>> _upwards("a/b")
    ['a/b', 'a']
    """
    found = list[str]()
    while folder:
        found.append(folder)
        folder = folder.rpartition("/")[0]
    return found
