"""One embedding for every instance of the data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import in_range
from ssl_dml.distributed import rows_of_owners
from ssl_dml.memory.sharded import ShardedRows, random_rows


@dataclass(frozen=True, kw_only=True)
class BankStorage:
    """Where and how the rows of a bank are kept.

    Args:
        dtype: ``bfloat16`` halves the memory; rows come out in float32 all the same.
        device: ``cpu`` keeps the rows in main memory wherever the encoder is; each step then
            sends the rows that it needs across.
        sharded: Each of W processes keeps about a W-th of the rows and answers for them; otherwise
            every process keeps all.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["encoder", "cpu"] = "encoder"
    sharded: bool = False


@final
class MemoryBank(ShardedRows):
    """A unit vector for every instance, moved towards each new embedding of it.

    It starts with random unit vectors (Wu et al., 2018, arXiv:1805.01978, sec. 3.1; the authors'
    code starts inside the unit ball), the same ones however many processes share them.

    Args:
        size: Number of instances.
        dim: Dimension of an embedding.
        momentum: Fraction of the old vector that an update keeps, in [0, 1]; 0.5 in the paper.
        storage: Where and how the rows are kept.

    Attributes:
        embeddings: The rows that this process keeps.
        owned: The instances that they belong to.
    """

    embeddings: Tensor
    unit = "instances"

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        momentum: float = 0.5,
        storage: BankStorage = BankStorage(),
    ) -> None:
        super().__init__(size, sharded=storage.sharded)
        in_range(0, 1, bank_momentum=momentum)
        self.momentum, self.storage = momentum, storage
        dtype = getattr(torch, storage.dtype)
        rows = random_rows(self.owned, (dim,), lambda x: F.normalize(x, dim=1), dtype=dtype)
        self.register_buffer("embeddings", rows)

    def rows(self, indices: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """A copy of some rows in float32 or better, which a later update leaves as it is.

        If the bank is split, every process calls this at the same time, with its own indices.

        Args:
            indices: Instances; their device is the one the rows are sent to.
        """
        flat = indices.flatten()
        if self.sharded:
            found = rows_of_owners(self.embeddings, flat, rows_per_rank=self.rows_per_rank)
        else:
            found = self.embeddings.index_select(0, flat.to(self.embeddings.device))
        return _widen(found.to(indices.device)).view(*indices.shape, -1)

    @torch.no_grad()
    def update(
        self, indices: Int[Tensor, " batch"], embeddings: Float[Tensor, "batch dim"]
    ) -> None:
        """Mix new unit vectors into the rows of distinct instances and normalize them.

        Every process is given those of all processes.
        """
        slots = indices - self.owned.start
        if self.sharded:
            own = (slots >= 0) & (slots < len(self.owned))
            slots, embeddings = slots[own], embeddings[own]
        slots = slots.to(self.embeddings.device)
        old = _widen(self.embeddings[slots])
        mixed = torch.lerp(embeddings.to(old), old, self.momentum)
        self.embeddings[slots] = F.normalize(mixed, dim=1).to(self.embeddings.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "MemoryBank":  # noqa: ARG002
        """Follow the model to another device or dtype as far as the storage lets the rows go."""
        there = fn(self.embeddings[:0])
        device = self.embeddings.device if self.storage.device == "cpu" else there.device
        dtype = self.embeddings.dtype if self.storage.dtype == "bfloat16" else there.dtype
        self.embeddings = self.embeddings.to(device, dtype)
        return self


def _widen(rows: Tensor) -> Tensor:
    return rows.to(torch.promote_types(rows.dtype, torch.float32))
