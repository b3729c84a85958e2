"""Search embeddings by example: ``ssl_dml search build|query|add|remove|serve``."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ssl_dml.commands.search_query import Query, answered, embedded, model_of, queries_of
from ssl_dml.commands.search_serve import ServeConfig, limits_of, serve
from ssl_dml.commands.search_sheet import sheet
from ssl_dml.config import parse
from ssl_dml.files import write_json, write_text
from ssl_dml.index.index import Index, build_index
from ssl_dml.index.segment import Kind
from ssl_dml.index.thumbnails import SIDE
from ssl_dml.progress import progress, say
from ssl_dml.types import ConfigError

LARGEST = 1024  # pixels of a thumbnail
BATCH = 256  # queries that are embedded and searched at once
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SEVERAL = ("images", "paths")  # keys of lists
USAGE = """Search embeddings by example.

  ssl_dml search build TABLE [--output INDEX]     an index of what ssl_dml embed wrote
  ssl_dml search query INDEX IMAGE... [--k 10]    the nearest samples of images or folders of them
  ssl_dml search add INDEX TABLE                  rows of another table of the same model
  ssl_dml search remove INDEX PATH...             rows by their path
  ssl_dml search serve INDEX                      a page to search with images, on this machine

Each takes --config FILE; --help lists its keys."""


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """An index of a table.

    Args:
        table: Folder that ``ssl_dml embed`` wrote.
        output: Folder to write, replacing an index in it; None for ``TABLE-index``.
        memory: Most memory that a search may take, such as 4GB; None for half of what is free.
        kind: How to search; None for what suits the rows and the memory.
        thumbnails: Largest side of thumbnails in pixels; 0 for none.
    """

    table: Path
    output: Path | None = None
    memory: str | None = None
    kind: Kind | None = None
    thumbnails: int = SIDE

    def __post_init__(self) -> None:
        if not 0 <= self.thumbnails <= LARGEST:
            raise ConfigError(f"--thumbnails must be from 0 to {LARGEST}, got {self.thumbnails}")
        if self.memory is not None:
            size_of(self.memory)


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """Images to search with.

    Args:
        index: Folder that ``ssl_dml search build`` wrote.
        images: Images, or folders of them; recordings where the model is for recordings.
        k: Neighbors of each image.
        json: File to write the neighbors into.
        html: Page to write, with thumbnails; it needs no other file.
        weights: The model, a run folder or what else ``ssl_dml.load`` takes, where it is no longer
            where the table says.
    """

    index: Path
    images: tuple[Path, ...]
    k: int = 10
    json: Path | None = None
    html: Path | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"--k must be at least 1, got {self.k}")
        if not self.images:
            raise ConfigError("no image to search with: ssl_dml search query INDEX IMAGE...")
        for path in (self.json, self.html):
            if path is not None and not path.absolute().parent.is_dir():
                raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")


@dataclass(frozen=True, kw_only=True)
class AddConfig:
    """Rows to add to an index.

    Args:
        index: Folder that ``ssl_dml search build`` wrote.
        table: Folder that ``ssl_dml embed`` wrote, with the same model.
    """

    index: Path
    table: Path


@dataclass(frozen=True, kw_only=True)
class RemoveConfig:
    """Rows to remove from an index.

    Args:
        index: Folder that ``ssl_dml search build`` wrote.
        paths: Paths of the rows, as a query prints them.
    """

    index: Path
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.paths:
            raise ConfigError("no row to remove: ssl_dml search remove INDEX PATH...")


def size_of(text: str) -> int:
    """Bytes of a size in words.

    >>> size_of("4GB"), size_of("1.5 mb"), size_of("800")
    (4000000000, 1500000, 800)

    Raises:
        ConfigError: If it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", text.strip().upper())
    if found is None:
        raise ConfigError(f"--memory must be a size such as 4GB or 500MB, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def build(config: BuildConfig) -> Index:
    """Build an index, and say where it is."""
    output = config.output or config.table.with_name(f"{config.table.name}-index")
    memory = None if config.memory is None else size_of(config.memory)
    kind, side = config.kind, config.thumbnails
    index = build_index(config.table, output, memory=memory, kind=kind, side=side)
    say(f"{index.info.rows:,} rows in {output}; next: ssl_dml search query {output} IMAGE...")
    return index


def query(config: QueryConfig) -> list[Query]:
    """Search with images: print their neighbors, and write them where that was asked for."""
    index = Index.open(config.index)
    model = model_of(index, config.weights)
    found, limits = list[Query](), limits_of(index, config.weights)
    for paths, skip in queries_of(config.images, index):
        with progress(len(paths), "searching", "images") as bar:
            for first in range(0, len(paths), BATCH):
                known, rows = embedded(model, paths[first : first + BATCH], skip=skip)
                found += answered(index, known, rows, config.k, limits=limits)
                bar.update(BATCH)
    if not found:
        raise ConfigError("no image could be searched with")
    for one in found:
        say(one.table())
    if config.json is not None:
        queries = [one.plain() for one in found]
        write_json(config.json, {"index": str(config.index), "k": config.k, "queries": queries})
    if config.html is not None:
        write_text(config.html, sheet(found, index))
    for path in (config.json, config.html):
        if path is not None:
            say(f"written: {path}")
    return found


def add(config: AddConfig) -> None:
    """Add rows, and say what was done."""
    say(Index.open(config.index).add(config.table))


def remove(config: RemoveConfig) -> None:
    """Remove rows, and say how many."""
    index = Index.open(config.index)
    count = index.remove(config.paths)
    say(f"{count:,} row{'s' if count > 1 else ''} removed; {index.info.rows:,} are left")


# Each with its configuration, and the keys of the words that come first.
ACTIONS: dict[str, tuple[Callable[..., object], type, tuple[str, ...]]] = {
    "build": (build, BuildConfig, ("table",)),
    "query": (query, QueryConfig, ("index", "images")),
    "add": (add, AddConfig, ("index", "table")),
    "remove": (remove, RemoveConfig, ("index", "paths")),
    "serve": (serve, ServeConfig, ("index",)),
}


def main(args: list[str] | None = None) -> None:
    """Do what the first word names with what follows."""
    name, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        sys.exit(0)
    if name not in ACTIONS:
        raise ConfigError(f"there is no search {name!r}; choose one of {', '.join(ACTIONS)}")
    action, schema, keys = ACTIONS[name]
    config, _ = parse(schema, keyed(rest, keys), kind=f"search {name}")
    action(config)


def keyed(args: list[str], keys: tuple[str, ...]) -> list[str]:
    """Arguments of which the words that come first have keys; the last of several takes the rest.

    >>> keyed(["a", "b", "c", "--k", "5"], ("index", "images"))
    ['--index=a', '--images=["b", "c"]', '--k', '5']
    >>> keyed(["a"], ("table",))
    ['--table=a']
    """
    count = next((i for i, arg in enumerate(args) if arg.startswith("-")), len(args))
    words, rest = args[:count], args[count:]
    if keys[-1] in SEVERAL and len(words) >= len(keys) - 1:
        words = [*words[: len(keys) - 1], json.dumps(words[len(keys) - 1 :])]
    if len(words) > len(keys):
        raise ConfigError(f"{words[len(keys)]!r} is one word too many; write keys as --key value")
    return [*(f"--{key}={word}" for key, word in zip(keys, words, strict=False)), *rest]
