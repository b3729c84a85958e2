"""A memory bank: one embedding for each sample of the data set."""

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
    """Type and place of the rows of a memory bank.

    >>> BankStorage(dtype="bfloat16", device="cpu").sharded
    False

    Args:
        dtype: ``bfloat16`` halves the memory. Rows are still returned in float32.
        device: ``cpu`` keeps the rows in main memory, wherever the encoder is. Each step then
            copies the rows that it needs.
        sharded: Whether each of W processes keeps about a W-th of the rows and sends them to the
            others. Otherwise every process keeps all.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["encoder", "cpu"] = "encoder"
    sharded: bool = False


@final
class MemoryBank(ShardedRows):
    """A unit vector for each instance, moved towards each new embedding of the instance.

    It starts with random unit vectors (Wu et al., 2018, arXiv:1805.01978, sec. 3.1; the authors'
    code starts inside the unit ball). They do not depend on the number of processes.

    >>> import torch
    >>> from ssl_dml.memory import MemoryBank
    >>> bank = MemoryBank(4, 2, momentum=0.0)
    >>> bank.update(torch.tensor([3]), torch.tensor([[0.6, 0.8]]))
    >>> bank.rows(torch.tensor([3]))
    tensor([[0.6000, 0.8000]])

    Args:
        size: Number of instances.
        dim: Dimension of an embedding.
        momentum: Weight of the old vector in an update, from 0 to 1; 0.5 in the paper.
        storage: Type and place of the rows.

    Raises:
        ValueError: If ``momentum`` is outside its range.

    Attributes:
        embeddings: The rows that this process keeps.
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
        """Copy the vectors of some instances, in float32 or better.

        If the bank is split, every process must call this at the same time, each with its own
        indices.

        Args:
            indices: Instances. The rows are sent to the device of the indices.
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
        """Mix new unit vectors into the rows of distinct instances, and normalize the rows.

        Every process must pass the instances and vectors of all processes.
        """
        slots = indices - self.owned.start
        if self.sharded:
            own = ((slots >= 0) & (slots < len(self.owned))).nonzero()[:, 0]
            slots, embeddings = slots[own], embeddings[own]
        slots = slots.to(self.embeddings.device)
        self.embeddings[slots] = self._mixed(self.embeddings[slots], embeddings)

    def mixed(
        self, old: Float[Tensor, "batch dim"], embeddings: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch dim"]:
        """What :meth:`update` makes of rows and new unit vectors, as :meth:`rows` gives it."""
        return _widen(self._mixed(old, embeddings))

    def _mixed(self, old: Tensor, embeddings: Tensor) -> Tensor:
        old = _widen(old)
        mixed = torch.lerp(embeddings.to(old), old, self.momentum)
        return F.normalize(mixed, dim=1).to(self.embeddings.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "MemoryBank":  # noqa: ARG002
        """Follow the model to another device or dtype, unless the storage fixes it."""
        there = fn(self.embeddings[:0])
        device = self.embeddings.device if self.storage.device == "cpu" else there.device
        dtype = self.embeddings.dtype if self.storage.dtype == "bfloat16" else there.dtype
        self.embeddings = self.embeddings.to(device, dtype)
        return self


def _widen(rows: Tensor) -> Tensor:
    return rows.to(torch.promote_types(rows.dtype, torch.float32))
