"""Open a source by its name: an embedded sample, a folder, tables, a data set on the hub."""

import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import datasets
import huggingface_hub
from datasets import config as datasets_config
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES as READERS

from ssl_dml.config import ConfigError
from ssl_dml.data.archives import open_archives
from ssl_dml.data.folders import FolderSource, Memory, images_below, is_audio
from ssl_dml.data.images import MAX_PIXELS, is_image
from ssl_dml.data.listings import is_listing, listed_files, path_column, read_listing
from ssl_dml.data.members import archives_at
from ssl_dml.data.parquet import files_of_split, is_parquet, parquet_files, read_parquet
from ssl_dml.data.sources import Source, fingerprint
from ssl_dml.data.split_names import listed, notes_on, printable, split_names
from ssl_dml.data.tables import Table, TableSource, split_rows
from ssl_dml.data.walk import any_below
from ssl_dml.offline import offline
from ssl_dml.reading import read_json, reading, regular

SAMPLES = Path(__file__).parent / "samples"
HUB_PATIENCE_S = 5
SAMPLE_NAMES = ("fashion_mini", "hangul")


@dataclass(frozen=True)
class TableOptions:
    """How a table is opened.

    Args:
        columns: Columns that must be alike in all its files, if any has them.
        use_splits: Whether names tell the splits.
        skip_damaged: Leave damaged files out instead of raising.
    """

    columns: tuple[str, ...]
    use_splits: bool = True
    skip_damaged: bool = False


def open_source(
    where: str,
    split: str,
    *,
    image_column: str,
    label_column: str,
    missing_labels: bool = True,
    use_splits: bool = True,
    max_pixels: int = MAX_PIXELS,
    skip_damaged: bool = False,
    cache_dir: Path | None = None,
) -> Source | None:
    """Open the images that ``data.source`` names; None if it has no such split.

    Args:
        where: An embedded sample, a folder of images, parquet files (a file, a folder or a
            glob), a folder saved by ``datasets``, or the name of a data set on the hub.
        split: ``"train"`` or ``"test"``.
        image_column: Column of images in a table.
        label_column: Column of labels in a table.
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
        use_splits: Whether names such as train and test, of sub-folders, files, or in a column
            called split, tell the splits; otherwise everything is train.
        max_pixels: An image of more pixels is damaged.
        skip_damaged: Leave damaged parquet files out instead of raising.
        cache_dir: Where it is kept what was found below a folder; None to keep nothing.

    Raises:
        ConfigError: If the source does not exist or holds no images.
    """
    path, memory = locate(where), None
    if cache_dir is not None and path.is_dir():
        memory = Memory(path, split, use_splits=use_splits, cache_dir=cache_dir)
        if (known := memory.known()) is not None:
            return None if known[0] is None else FolderSource(path, *known, max_pixels=max_pixels)
    labels = {"label_column": label_column, "missing_labels": missing_labels}
    if archives := archives_at(path):
        options = {"use_splits": use_splits, "max_pixels": max_pixels, "skip_damaged": skip_damaged}
        return open_archives(path, archives, split, **labels, **options)
    if is_folder_of_files(path):
        files = images_below(path, split, use_splits=use_splits, memory=memory)
        return None if files is None else FolderSource(path, files, max_pixels=max_pixels)
    given = TableOptions((image_column, label_column), use_splits, skip_damaged)
    table = open_table(where, path, split, given)
    if table is None:
        return None
    if column := path_column(table, image_column):
        files = listed_files(table, column, **labels)
        return FolderSource(path, files, max_pixels=max_pixels)
    return TableSource(table, image_column=image_column, max_pixels=max_pixels, **labels)


def locate(where: str) -> Path:
    """Path of an embedded sample, or of a file or folder, whether it exists or not.

    Raises:
        ConfigError: If it is a pipe, a socket or a device, which reading would wait for.
    """
    path = SAMPLES / where if where in SAMPLE_NAMES else Path(where).expanduser()
    if path.exists() and not path.is_dir():
        with reading(f"data.source {printable(where)!r}", "name a file or a folder"):
            regular(path)
    return path


def is_folder_of_files(path: Path) -> bool:
    """Whether a path is a folder of image or audio files, not of a table."""
    if not path.is_dir() or _is_saved(path) or any(path.glob("[!.]*.parquet")):
        return False
    # A clone of a data set on the hub has its tables in a sub-folder.
    return any_below(path, lambda p: is_image(p) or is_audio(p)) or not any_below(path, is_parquet)


def open_table(where: str, path: Path, split: str, given: TableOptions) -> Table | None:
    """Open a table; None if it has no such split.

    Raises:
        ConfigError: If it is missing or damaged, or it cannot be told what its splits are.
    """
    if path.is_dir() and _is_saved(path):
        table = _open_saved(path, split, given)
    elif is_listing(path):
        table = split_rows(read_listing(path), split, use_splits=given.use_splits)
    elif files := parquet_files(path):
        table = _open_parquet(where, path, files, split, given)
    else:
        table = _open_hub(where, split, given)
    if table is None or split == "train":
        return table
    return replace(table, name=f"{table.name} ({split})")  # row 0 of which split


def _is_saved(path: Path) -> bool:
    return any((path / name).exists() for name in ("dataset_info.json", "dataset_dict.json"))


def _open_saved(path: Path, split: str, given: TableOptions) -> Table | None:
    with reading(f"data.source {printable(str(path))!r}", "save it again", foreign=False):
        _check_saved(path)
        saved = datasets.load_from_disk(str(path))
        parts = [saved] if isinstance(saved, datasets.Dataset) else saved.values()
        for part in parts:  # it is mapped, and what Arrow does not check ends the process
            part.data.table.validate(full=True)
    identity = fingerprint(path, (p for p in path.rglob("*") if p.is_file()), split)
    if isinstance(saved, datasets.Dataset):
        return split_rows(Table(saved, identity, str(path)), split, use_splits=given.use_splits)
    names, notes = _chosen([str(name) for name in saved], str(path), split, given)
    if not names:
        return None
    rows = datasets.concatenate_datasets([saved[name] for name in names])
    return Table(rows, identity, str(path), notes)


def _check_saved(path: Path) -> None:
    """Raise if a folder saved by ``datasets`` names files elsewhere, or what is no file.

    Raises:
        ValueError: Naming the file.
    """
    for folder in (path, *(inside for inside in path.iterdir() if inside.is_dir())):
        for inside in folder.iterdir():
            if not inside.is_dir():
                regular(inside)
        if (state := folder / "state.json").exists():
            for file in read_json(state)["_data_files"]:
                if Path(file["filename"]).parts != (Path(file["filename"]).name,):
                    raise ValueError(f"{state} names the file {file['filename']!r} elsewhere")


def _open_parquet(
    where: str, path: Path, files: list[Path], split: str, given: TableOptions
) -> Table | None:
    mine, notes = files, []
    if path.is_dir() and given.use_splits:
        mine, notes = files_of_split(path, files, split)
    by_name = bool(notes)
    if split != "train" and not by_name:
        mine = files if given.use_splits else []
    if not mine:
        return None
    rows, more = read_parquet(where, mine, columns=given.columns, skip_damaged=given.skip_damaged)
    folder = path if path.is_dir() else path.parent
    table = Table(rows, fingerprint(path, mine, split), where, [*notes, *more], folder)
    return table if by_name else split_rows(table, split, use_splits=given.use_splits)


def _chosen(
    names: list[str], where: str, split: str, given: TableOptions
) -> tuple[list[str], list[str]]:
    """Names of the splits that are wanted, of those that a data set has; and what to note.

    Raises:
        ConfigError: If none of them is to train on.
    """
    if not given.use_splits:
        return names if split == "train" else [], []
    found = split_names(names, loose=True)
    mine = found.train if split == "train" else found.test
    if split == "train" and not mine:
        raise ConfigError(
            f"data.source {where!r} has the splits {listed(names)} and none to train on: set "
            "data.use_splits false to train on all of them"
        )
    # Beside train itself there may be parts of it, such as train_small.
    return [name for name in mine if name == split] or mine, notes_on(found)


def _hub_answers() -> bool:
    """Whether the hub can be connected to; True where a proxy stands between."""
    if offline():
        return False
    if getproxies():
        return True
    address = urlsplit(huggingface_hub.constants.ENDPOINT)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=HUB_PATIENCE_S).close()
    except OSError:
        return False
    return True


def _open_hub(where: str, split: str, given: TableOptions) -> Table | None:
    missing = (
        f"data.source {where!r}: there is no such file or folder, and it is not an embedded "
        f"sample ({', '.join(SAMPLE_NAMES)})"
    )
    if where.startswith((".", "/", "~")) or where.count("/") > 1 or "\\" in where:
        raise ConfigError(missing)
    if where in READERS:  # which would read the files of the current folder
        raise ConfigError(missing)
    settings: list[Any] = [huggingface_hub.constants, datasets_config]
    before = [one.HF_HUB_OFFLINE for one in settings]
    if not _hub_answers():
        for one in settings:  # without trying for half a minute; what is in the cache is found
            one.HF_HUB_OFFLINE = True
    try:
        splits, notes = _chosen(datasets.get_dataset_split_names(where), where, split, given)
        if not splits:
            return None
        table: Any = datasets.load_dataset(where, split="+".join(splits))
    except ConfigError:
        raise
    except Exception as error:  # the hub client raises many unrelated types
        away = isinstance(error, ConnectionError) or "offline" in type(error).__name__.lower()
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        reason = "the hub cannot be reached: there is no network" if away else reason
        raise ConfigError(f"{missing}; {reason}") from error
    finally:
        for one, value in zip(settings, before, strict=True):
            one.HF_HUB_OFFLINE = value
    identity = f"{where}:{split}:{table._fingerprint}"
    return Table(table, (identity, identity), where, notes)
