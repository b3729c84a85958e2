"""Open a source by its name: an embedded sample, a folder, tables, a data set on the hub."""

from pathlib import Path
from typing import Any

import datasets

from ssl_dml.config import ConfigError
from ssl_dml.data.folders import FolderSource, split_folder
from ssl_dml.data.sources import Source, fingerprint
from ssl_dml.data.tables import TableSource

SAMPLES = Path(__file__).parent / "samples"
SAMPLE_NAMES = ("fashion_mini", "hangul")


def open_source(where: str, split: str, *, image_column: str, label_column: str) -> Source | None:
    """Open the images that ``data.source`` names; None if it has no such split.

    Args:
        where: An embedded sample, a folder of images, parquet files (a file, a folder or a
            glob), a folder saved by ``datasets``, or the name of a data set on the hub.
        split: ``"train"`` or ``"test"``; a folder of images may hold it as a sub-folder.
        image_column: Column of images in a table.
        label_column: Column of labels in a table.

    Raises:
        ConfigError: If the source does not exist or holds no images.
    """
    path = locate(where)
    if is_folder_of_files(path):
        inside = split_folder(path, split)
        return None if inside is None else FolderSource(inside)
    opened = open_table(where, path, split)
    if opened is None:
        return None
    table, identity = opened
    return TableSource(table, identity, where, image_column=image_column, label_column=label_column)


def locate(where: str) -> Path:
    """Path of an embedded sample, or of a file or folder, whether it exists or not."""
    return SAMPLES / where if where in SAMPLE_NAMES else Path(where).expanduser()


def is_folder_of_files(path: Path) -> bool:
    """Whether a path is a folder of image or audio files, not of a table."""
    return path.is_dir() and not (_is_saved(path) or any(path.glob("*.parquet")))


def open_table(
    where: str, path: Path, split: str
) -> tuple[datasets.Dataset, tuple[str, str]] | None:
    """Open a table, with fingerprint and stamp of its files; None if it has no such split."""
    if path.is_dir() and _is_saved(path):
        saved = datasets.load_from_disk(str(path))
        table = saved.get(split) if isinstance(saved, datasets.DatasetDict) else saved
        if table is None or (table is saved and split != "train"):
            return None
        return table, fingerprint(path, (p for p in path.rglob("*") if p.is_file()), split)
    files = _parquet_files(path, split)
    if files is None:
        return _open_hub(where, split)
    if not files:
        return None
    table = datasets.Dataset.from_parquet([str(f) for f in files], keep_in_memory=False)
    return table, fingerprint(path, files, split)  # pyright: ignore[reportReturnType]


def _is_saved(path: Path) -> bool:
    return any((path / name).exists() for name in ("dataset_info.json", "dataset_dict.json"))


def _parquet_files(path: Path, split: str) -> list[Path] | None:
    """Parquet files of a split; empty if the split has none; None if there are no files at all."""
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        mine = [f for f in files if f.name.startswith(split)]
        named = any(f.name.startswith(("train", "test")) for f in files)
        return mine if named else (files if split == "train" else [])
    if "*" in path.name and path.parent.is_dir():
        files = sorted(path.parent.glob(path.name))
    else:
        files = [path] if path.is_file() else []
    if not files:
        return None
    if any(f.suffix != ".parquet" for f in files):
        hint = "name the folder that holds the samples"
        if path.suffix == ".npz":
            hint = "of sequences it may be an .npz file: set data.sequences"
        raise ConfigError(
            f"data.source {str(path)!r} is neither a folder nor a parquet file; {hint}"
        )
    return files if split == "train" else []


def _open_hub(where: str, split: str) -> tuple[datasets.Dataset, tuple[str, str]] | None:
    missing = (
        f"data.source {where!r}: there is no such file or folder, and it is not an embedded "
        f"sample ({', '.join(SAMPLE_NAMES)})"
    )
    if where.startswith((".", "/", "~")) or where.count("/") > 1 or "\\" in where:
        raise ConfigError(missing)
    try:
        splits = datasets.get_dataset_split_names(where)
        if split not in splits:
            return None
        table: Any = datasets.load_dataset(where, split=split)
    except Exception as error:  # the hub client raises many unrelated types
        offline = isinstance(error, ConnectionError) or "offline" in type(error).__name__.lower()
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        reason = "the hub cannot be reached: there is no network" if offline else reason
        raise ConfigError(f"{missing}; {reason}") from error
    identity = f"{where}:{split}:{table._fingerprint}"
    return table, (identity, identity)
