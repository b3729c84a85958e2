"""Memory banks in checkpoints: they may be split over processes, and cut anew over others."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_dml.memory import MemoryBank
from ssl_dml.training.files import read


def split_rows(model: Any) -> dict[str, Tensor]:  # noqa: ANN401 - anything with a state
    """The rows that this process keeps of banks that are split, by their name in the state."""
    return {name: bank.embeddings for name, bank in _banks(model) if bank.storage.sharded}


def cut_banks(model: Any, state: dict[str, Tensor], files: Sequence[Path]) -> None:  # noqa: ANN401
    """Put into a model's state the rows of its banks that this process is to keep.

    Args:
        model: Whose state it is.
        state: Has all rows of a bank that was not split, none of one that was.
        files: Where each process has written its rows, in order of rank.

    Raises:
        ValueError: If a bank was made for another number of instances.
    """
    for name, bank in _banks(model):
        if name not in state and not files:
            continue  # of another method; loading the state says so
        tables = [state[name]] if name in state else [read(f, mmap=True)[name] for f in files]
        found = sum(map(len, tables))
        if found != len(bank):
            raise ValueError(f"{name} has {found} rows, and this data set {len(bank)} instances")
        state[name] = _within(tables, bank.owned)


def _banks(model: Any) -> Iterator[tuple[str, MemoryBank]]:  # noqa: ANN401
    if isinstance(model, nn.Module):
        for name, module in model.named_modules():
            if isinstance(module, MemoryBank):
                yield f"{name}.embeddings".removeprefix("."), module


def _within(tables: Sequence[Tensor], owned: range) -> Tensor:
    """Some rows of the tables laid end to end."""
    parts: list[Tensor] = []
    first = 0
    for table in tables:
        parts.append(table[max(owned.start - first, 0) : max(owned.stop - first, 0)])
        first += len(table)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
