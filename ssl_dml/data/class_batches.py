"""Samplers for metric learning: batches of a few classes, or of neighbors of an anchor."""

import random
from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Sampler

from ssl_dml.config import ConfigError
from ssl_dml.data.samplers import check_batch, own_part, passes


@final
class ClassBatches(Sampler[Tensor]):
    """Batches of a fixed number of classes, without end, for this process.

    The samples of a batch are spread over its classes as evenly as possible: of 128 samples, 32
    classes get 4 each; of 96 classes, 32 get 2 and 64 get 1. Row i belongs to the batch's class
    ``i % classes``, so every process gets about the same mix.

    Classes come from shuffled passes over all C of them. A pass has ``ceil(C / classes)``
    batches and reaches every class; if its last batch lacks some, the first classes of the pass
    come again. The samples of a class are drawn without repetition within a batch; a class with
    fewer samples than needed gives all of them before it repeats one. A batch depends on
    ``seed`` and its number alone. Its cost depends on the batch size, not on the data set.

    >>> labels = torch.arange(100) % 20
    >>> batches = ClassBatches(labels, batch_size=12, classes=3, seed=0)
    >>> labels[next(iter(batches))].unique(return_counts=True)[1].tolist()
    [4, 4, 4]

    Args:
        labels: Class of each sample; one with a negative label is never drawn.
        batch_size: Samples in a batch over all processes.
        classes: Classes in a batch.
        seed: Seed of the passes and of the samples.
        start: Number of batches already visited.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If the data set or the batch is too small for that many classes, or the
            processes cannot share a batch evenly.
    """

    def __init__(
        self,
        labels: Int[Tensor, " samples"],
        batch_size: int,
        *,
        classes: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        order = labels.argsort(stable=True)
        self.order = order[(labels < 0).sum() :]  # samples class by class
        _, self.sizes = labels[self.order].unique_consecutive(return_counts=True)
        self.offsets = self.sizes.cumsum(0) - self.sizes
        if not 1 <= classes <= len(self.sizes):
            most = min(batch_size, len(self.sizes))
            raise ConfigError(
                "labels.classes_per_batch must be from 1 to the number of classes that have "
                f"samples, {len(self.sizes)}; got {classes}: "
                + (f"set it to {most} or less" if most else "label samples")
            )
        if batch_size < classes:
            raise ConfigError(
                f"data.batch_size must be at least the classes in a batch, {classes}, so that "
                f"each has a sample; got {batch_size}: set labels.classes_per_batch to "
                f"{max(1, batch_size)} or less"
            )
        self.part = own_part(batch_size, rank, world_size)
        self.batch_size, self.classes, self.seed, self.start = batch_size, classes, seed, start

    @property
    def per_epoch(self) -> int:
        """Number of labeled samples over the batch size, at least 1; not a pass over classes."""
        return max(1, len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        columns = torch.arange(self.classes)
        per_pass = -(-len(self.sizes) // self.classes)
        for order, i, batch in passes(len(self.sizes), per_pass, seed=self.seed, start=self.start):
            chosen = order[(i * self.classes + columns) % len(order)]
            yield self._rows(chosen, batch)[self.part]

    def _rows(self, chosen: Int[Tensor, " classes"], batch: int) -> Int[Tensor, " samples"]:
        draw, most = random.Random(f"{self.seed} {batch}"), -(-self.batch_size // self.classes)
        drawn = torch.tensor([_draw(draw, size, most) for size in self.sizes[chosen].tolist()])
        # Every class draws ``most``; the cut leaves each of them its even part.
        places = (self.offsets[chosen, None] + drawn).T.flatten()[: self.batch_size]
        return self.order[places]


@final
class NeighborBatches(Sampler[Tensor]):
    """Batches of an anchor, its nearest neighbors and random others, for continuous labels.

    The first row is the anchor; then come the samples nearest to it by Euclidean distance of the
    labels; then random others, all distinct. Ties are broken at random. Anchors come from
    shuffled passes over all samples, one batch for each. Batches go on without end. A batch
    depends on ``seed`` and its number alone, and costs one pass over all labels.

    >>> ages = torch.arange(10.0)
    >>> batch = next(iter(NeighborBatches(ages, batch_size=5, nearest=2, seed=0)))
    >>> (ages[batch[1:3]] - ages[batch[0]]).abs().tolist()
    [1.0, 1.0]

    Args:
        targets: Continuous label of each sample: a number, or a vector such as a pose.
        batch_size: Samples in a batch over all processes.
        nearest: Number of nearest neighbors of the anchor in a batch.
        seed: Seed of the passes and of the samples.
        start: Number of batches already visited.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If the data set is smaller than a batch, ``nearest`` does not fit in it, a
            label is not finite, or the processes cannot share a batch evenly.

    References:
        Kim et al., 2019, arXiv:1904.09626, sec. 3.3.
    """

    def __init__(
        self,
        targets: Float[Tensor, "samples *values"],
        batch_size: int,
        *,
        nearest: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_batch(batch_size, len(targets), world_size)
        if not 1 <= nearest < batch_size:
            raise ConfigError(
                f"labels.nearest must be from 1 to the batch without its anchor, {batch_size - 1}; "
                f"got {nearest}"
            )
        self.targets = targets.double().reshape(len(targets), -1)
        finite = self.targets.isfinite().all(dim=1)
        if not finite.all():
            raise ConfigError(
                f"targets must be finite; that of sample {int((~finite).nonzero()[0])} is not: "
                "leave it out"
            )
        self.part = own_part(batch_size, rank, world_size)
        self.batch_size, self.nearest, self.seed, self.start = batch_size, nearest, seed, start

    @property
    def per_epoch(self) -> int:
        """Number of samples over the batch size; not a pass over anchors."""
        return len(self.targets) // self.batch_size

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        count = len(self.targets)
        for order, i, batch in passes(count, count, seed=self.seed, start=self.start):
            yield self._rows(order[i : i + 1], batch)[self.part]

    def _rows(self, anchor: Int[Tensor, "1"], batch: int) -> Int[Tensor, " samples"]:
        generator = torch.Generator()
        generator.manual_seed(random.Random(f"{self.seed} {batch}").getrandbits(63))
        others = torch.randperm(len(self.targets), generator=generator)
        others = others[others != anchor]
        # Squares do not change which are nearest.
        far = (self.targets - self.targets[anchor]).square().sum(dim=1)[others]
        limit = far.kthvalue(self.nearest).values
        near = far < limit
        near[(far == limit).nonzero()[: self.nearest - int(near.sum()), 0]] = True
        rest = others[~near][: self.batch_size - 1 - self.nearest]
        return torch.cat([anchor, others[near], rest])


def _draw(draw: random.Random, size: int, count: int) -> list[int]:
    """Draw numbers below ``size``, each of them once before any comes again."""
    whole, rest = divmod(count, size)
    drawn = [number for _ in range(whole) for number in draw.sample(range(size), size)]
    return drawn + draw.sample(range(size), rest)
