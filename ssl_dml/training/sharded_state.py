"""Tables of rows in checkpoints: they may be split over processes, and cut anew over others."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_dml.memory import MemoryBank, RowTable
from ssl_dml.training.files import read


def split_rows(model: Any) -> dict[str, Tensor]:  # noqa: ANN401 - anything with a state
    """The rows that this process keeps of tables that are split, by their name in the state."""
    return {
        prefix + name: rows
        for prefix, table in _tables(model)
        if table.sharded
        for name, rows in table.tables().items()
    }


def cut_tables(model: Any, state: dict[str, Tensor], files: Sequence[Path]) -> None:  # noqa: ANN401
    """Put into a model's state the rows of its tables that this process is to keep.

    Args:
        model: Whose state it is.
        state: Has all rows of a table that was not split, none of one that was.
        files: Where each process has written its rows, in order of rank.

    Raises:
        ValueError: If a table was made for another number of rows.
    """
    saved = [read(file, mmap=True) for file in files]
    for prefix, table in _tables(model):
        for name in sorted({*state, *(name for part in saved for name in part)}):
            if not name.startswith(prefix):
                continue
            parts = [state[name]] if name in state else [part[name] for part in saved]
            found = sum(map(len, parts))
            if found != len(table):
                raise ValueError(
                    f"{name} has {found} rows, and this data set {len(table)} {table.unit}"
                )
            state[name] = _within(parts, table.owned)


def _tables(model: Any) -> Iterator[tuple[str, MemoryBank | RowTable]]:  # noqa: ANN401
    """Tables of a model, and what the names of their rows begin with."""
    if isinstance(model, nn.Module):
        for name, module in model.named_modules():
            if isinstance(module, (MemoryBank, RowTable)):
                yield f"{name}.".removeprefix("."), module


def _within(tables: Sequence[Tensor], owned: range) -> Tensor:
    """Some rows of the tables laid end to end."""
    parts: list[Tensor] = []
    first = 0
    for table in tables:
        parts.append(table[max(owned.start - first, 0) : max(owned.stop - first, 0)])
        first += len(table)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
