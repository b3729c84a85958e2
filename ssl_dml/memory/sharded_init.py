"""Random tables whose rows do not depend on how many processes share them."""

from collections.abc import Callable

import torch
from torch import Tensor

from ssl_dml.distributed import broadcast_object

BLOCK = 4096


def random_rows(
    owned: range,
    shape: tuple[int, ...],
    finish: Callable[[Tensor], Tensor],
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Part of a table of normal draws, made in blocks.

    Args:
        owned: The rows that are wanted.
        shape: Shape of a row.
        finish: What is made of a block of draws.
        dtype: Type of the table.
    """
    seed = broadcast_object(
        int(torch.randint(2**62, ()))
    )  # one number, so that all draw the same table
    rows = torch.empty(len(owned), *shape, dtype=dtype)
    for first in range(owned.start // BLOCK * BLOCK, owned.stop, BLOCK):
        generator = torch.Generator().manual_seed(seed + first)
        block = finish(torch.randn(BLOCK, *shape, generator=generator))
        start, stop = max(first, owned.start), min(first + BLOCK, owned.stop)
        rows[start - owned.start : stop - owned.start] = block[start - first : stop - first]
    return rows
