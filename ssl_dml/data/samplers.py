"""The order in which samples are visited, and shuffled passes for other samplers."""

import itertools
from collections.abc import Iterator
from copy import copy
from typing import Protocol, TypeVar, final, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Sampler

from ssl_dml.config import ConfigError


@final
class EpochBatches(Sampler[Tensor]):
    """Shuffled batches of sample indices, epoch after epoch without end, for this process.

    Each epoch is a permutation that depends on ``seed`` and the number of the epoch alone, cut
    into batches; a remainder smaller than a batch is left out of that epoch. Every process takes
    its own consecutive part of each batch, so the batches do not depend on their number.

    >>> batches = EpochBatches(10, batch_size=4, seed=0)
    >>> batches.per_epoch
    2
    >>> first = next(iter(batches))
    >>> halves = [next(iter(EpochBatches(10, 4, seed=0, rank=r, world_size=2))) for r in (0, 1)]
    >>> torch.equal(torch.cat(halves), first)
    True

    Args:
        num_samples: Size of the data set.
        batch_size: Samples in a batch over all processes.
        seed: Seed of the permutations.
        start: Number of batches already visited, in this and earlier epochs.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If the data set is smaller than a batch, or the processes cannot share a batch
            evenly.
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
        check_batch(batch_size, num_samples, world_size)
        self.num_samples, self.batch_size = num_samples, batch_size
        self.seed, self.start = seed, start
        self.part = own_part(batch_size, rank, world_size)

    @property
    def per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_samples // self.batch_size

    def skip(self, batches: int) -> "EpochBatches":
        """The same order after so many more batches."""
        return skipped(self, batches)

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        size = self.batch_size
        for order, i, _ in passes(
            self.num_samples, self.per_epoch, seed=self.seed, start=self.start
        ):
            yield order[i * size : (i + 1) * size][self.part]


@runtime_checkable
class Resumable(Protocol):
    """An order of batches that can begin later."""

    start: int


Order = TypeVar("Order", bound=Resumable)


def skipped(order: Order, batches: int) -> Order:
    """A copy of an order of batches that begins so many batches later."""
    later = copy(order)
    later.start += batches
    return later


def check_batch(batch_size: int, num_samples: int, world_size: int = 1) -> None:
    """Raise unless a batch has a sample or more and no more than there are.

    >>> check_batch(8, 5, world_size=2)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: data.batch_size must be from 1 to the number of samples, 5; got 8: \
set it to 4

    Raises:
        ConfigError: Naming the largest batch that the processes can share.
    """
    if 0 < batch_size <= num_samples and num_samples >= world_size:
        return
    most = num_samples - num_samples % world_size
    remedy = f"set it to {most}" if most else f"{world_size} samples or more are needed"
    raise ConfigError(
        f"data.batch_size must be from 1 to the number of samples, {num_samples}; got {batch_size}"
        f": {remedy}"
    )


def own_part(batch_size: int, rank: int, world_size: int) -> slice:
    """Return the slice of a batch that belongs to a process.

    >>> own_part(8, rank=1, world_size=2)
    slice(4, 8, None)

    Raises:
        ConfigError: If the processes cannot share a batch evenly.
    """
    if batch_size % world_size:
        raise ConfigError(
            "data.batch_size is for all processes together and must be a multiple of their "
            f"number, {world_size}; got {batch_size}: set it to "
            f"{max(1, batch_size // world_size) * world_size}"
        )
    part = batch_size // world_size
    return slice(rank * part, (rank + 1) * part)


def passes(
    count: int, per_pass: int, *, seed: int, start: int
) -> Iterator[tuple[Int[Tensor, " count"], int, int]]:
    """Walk through shuffled passes over ``count`` items, ``per_pass`` batches each, without end.

    Args:
        count: Number of items.
        per_pass: Number of batches in a pass.
        seed: Seed of the permutations.
        start: Number of batches already visited.

    Yields:
        The permutation of the pass, the batch's number in the pass, and its number in all.
    """
    first_pass, first = divmod(start, per_pass)
    for number in itertools.count(first_pass):
        generator = torch.Generator().manual_seed(seed + number * 1_000_003)
        order = torch.randperm(count, generator=generator)
        for i in range(first, per_pass):
            yield order, i, number * per_pass + i
        first = 0
