"""The order in which samples are visited."""

from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Sampler

from ssl_dml.config import ConfigError


@final
class EpochBatches(Sampler[Tensor]):
    """This process's part of every batch, epoch after epoch without end.

    Each epoch is a permutation that depends on ``seed`` and the epoch alone, cut into batches;
    what is left over at its end is not visited in that epoch. Every process takes its own
    consecutive part of each batch, so together they visit what one process would.

    Args:
        num_samples: Size of the data set.
        batch_size: Samples in a batch over all processes.
        seed: Number the permutations depend on.
        start: Batches that were already visited, in this and earlier epochs.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If there is less than one batch, or it cannot be shared evenly.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 < batch_size <= num_samples:
            raise ConfigError(
                f"data.batch_size must be from 1 to the number of samples, {num_samples}; "
                f"got {batch_size}"
            )
        self.num_samples, self.batch_size, self.seed, self.start = (
            num_samples,
            batch_size,
            seed,
            start,
        )
        self.part = own_part(batch_size, rank, world_size)

    @property
    def per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_samples // self.batch_size

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        epoch, first = divmod(self.start, self.per_epoch)
        while True:
            order = shuffled(self.num_samples, self.seed, epoch)
            for batch in order.split(self.batch_size)[first : self.per_epoch]:
                yield batch[self.part]
            epoch, first = epoch + 1, 0


def own_part(batch_size: int, rank: int, world_size: int) -> slice:
    """Where a process's consecutive part of a batch is.

    Raises:
        ConfigError: If the batch cannot be shared evenly.
    """
    if batch_size % world_size:
        raise ConfigError(
            "data.batch_size is for all processes together and must be a multiple of their "
            f"number, {world_size}; got {batch_size}"
        )
    part = batch_size // world_size
    return slice(rank * part, (rank + 1) * part)


def shuffled(count: int, seed: int, number: int) -> Int[Tensor, " count"]:
    """The permutation of a pass, a function of the seed and the number of the pass."""
    generator = torch.Generator().manual_seed(seed + number * 1_000_003)
    return torch.randperm(count, generator=generator)
