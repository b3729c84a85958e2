"""Tables of rows that may be split over processes, and how checkpoints cut them anew."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ssl_dml.distributed import broadcast_object, rank, world_size

BLOCK = 4096


class ShardedRows(nn.Module):
    """A table with one row for each class or instance, on every process or split over all.

    Every buffer of it has one row for each row of the table.

    Args:
        size: Number of rows.
        sharded: Whether each of W processes keeps about a W-th of the rows. Otherwise each keeps
            all of them.

    Attributes:
        unit: What a row stands for, in error messages.
        rows_per_rank: Rows of a process. Row ``i`` belongs to rank ``i // rows_per_rank``.
        owned: The rows that this process keeps.
    """

    unit = "rows"

    def __init__(self, size: int, *, sharded: bool) -> None:
        super().__init__()
        self.size, self.sharded = size, sharded
        self.rows_per_rank = -(-size // world_size()) if sharded else size
        first = min(rank() * self.rows_per_rank, size) if sharded else 0
        self.owned = range(first, min(first + self.rows_per_rank, size))

    def __len__(self) -> int:
        return self.size


def random_rows(
    owned: range,
    shape: tuple[int, ...],
    finish: Callable[[Tensor], Tensor],
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Rows of a random table, the same however many processes share it.

    Args:
        owned: Which rows to make.
        shape: Shape of a row.
        finish: Maps a block of standard normal rows to rows of the table.
        dtype: Type of the table.
    """
    seed = broadcast_object(int(torch.randint(2**62, ())))  # so that all make the same table
    rows = torch.empty(len(owned), *shape, dtype=dtype)
    for first in range(owned.start // BLOCK * BLOCK, owned.stop, BLOCK):
        generator = torch.Generator().manual_seed(seed + first)
        block = finish(torch.randn(BLOCK, *shape, generator=generator))
        start, stop = max(first, owned.start), min(first + BLOCK, owned.stop)
        rows[start - owned.start : stop - owned.start] = block[start - first : stop - first]
    return rows


def split_rows(model: object) -> dict[str, Tensor]:
    """This process's rows of every table that is split, by their name in the state."""
    return {
        prefix + name: rows
        for prefix, table in _tables(model)
        if table.sharded
        for name, rows in table.named_buffers()
    }


def cut_rows(
    model: object, state: dict[str, Tensor], saved: Sequence[Mapping[str, Tensor]]
) -> None:
    """Put the rows that this process keeps into a saved state, before the model loads it.

    Args:
        model: The model that will load the state.
        state: The saved state. It has all rows of a table that was whole and none of a table
            that was split.
        saved: What :func:`split_rows` gave on each process, in order of rank.

    Raises:
        ValueError: If a saved table has another number of rows.
    """
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
            state[name] = _cut(parts, table.owned)


def _tables(model: object) -> Iterator[tuple[str, ShardedRows]]:
    """Tables of a model, each with the beginning of its names in the state."""
    if isinstance(model, nn.Module):
        for name, module in model.named_modules():
            if isinstance(module, ShardedRows):
                yield f"{name}.".removeprefix("."), module


def _cut(parts: Sequence[Tensor], owned: range) -> Tensor:
    """Some rows of several tensors, counted through all of them."""
    found: list[Tensor] = []
    first = 0
    for part in parts:
        found.append(part[max(owned.start - first, 0) : max(owned.stop - first, 0)])
        first += len(part)
    return found[0] if len(found) == 1 else torch.cat(found)
