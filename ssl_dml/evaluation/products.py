"""The largest products of rows on a device, a tile at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

QUERIES, ROWS = 8192, 16384  # of a tile


def largest_products(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "queries dim"],
    k: int,
    *,
    device: torch.device,
    added: Float[Tensor, " rows"] | None = None,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k largest dot products of each query and their gallery rows, on the CPU.

    Every pair is compared, in float32; of equal products any may come first. Tiles of 8,192 queries
    and 16,384 rows are on the device at once.

    Args:
        gallery: Rows to search, in float32.
        query: Rows to search for, in float32.
        k: Number of rows to find, at most those of the gallery.
        device: Where products are computed.
        added: What is added to the products of each gallery row; None for nothing.

    >>> products = largest_products(torch.eye(3), torch.tensor([[0.5, 0.1, 0.9]]), 2,
    ...                             device=torch.device("cpu"))
    >>> products
    (tensor([[0.9000, 0.5000]]), tensor([[2, 0]]))
    """
    found = [(torch.empty(0, k), torch.empty(0, k, dtype=torch.long))]
    with _float32():
        for part in query.split(QUERIES):
            values, rows = _best(gallery, part.to(device), k, added)
            found.append((values.cpu(), rows.cpu()))
    return torch.cat([values for values, _ in found]), torch.cat([rows for _, rows in found])


def _best(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "some dim"],
    k: int,
    added: Float[Tensor, " rows"] | None,
) -> tuple[Float[Tensor, "some k"], Int[Tensor, "some k"]]:
    best = query.new_empty(len(query), 0)
    rows = torch.empty(len(query), 0, dtype=torch.long, device=query.device)
    for first in range(0, len(gallery), ROWS):
        tile = slice(first, first + ROWS)
        products = query @ gallery[tile].to(query.device).T
        if added is not None:
            products += added[tile].to(query.device)
        own = products.topk(min(k, products.shape[1]), dim=1)
        best = torch.cat([best, own.values], dim=1)
        rows = torch.cat([rows, own.indices + first], dim=1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        rows = rows.gather(1, order)
    return best, rows


@contextmanager
def _float32() -> Iterator[None]:
    """Products in float32 as they are, not in TF32, whatever the program has chosen."""
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(chosen)
