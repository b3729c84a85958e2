"""Batches that are made for comparing samples: of chosen classes, or around an anchor."""

import random
from collections.abc import Iterator
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Sampler

from ssl_dml.config import ConfigError
from ssl_dml.data.samplers import own_part, shuffled


@final
class ClassBatches(Sampler[Tensor]):
    """This process's part of batches that hold so many classes each, without end.

    The samples of a batch are spread over its classes as evenly as can be: with 128 samples, 32
    classes have 4 each, and of 96 classes 32 have 2 and 64 have 1. Row i is of the batch's class
    ``i % classes``, so the parts of all processes have about the same mix.

    Classes come from shuffled passes over all C of them. A pass is ``ceil(C / classes)`` batches
    and reaches every class; where its last batch lacks some, the first classes of the pass come
    again. The samples of a class are drawn without repetition within a batch; a class of fewer
    than it needs gives all of them before it repeats one. A batch depends on ``seed`` and its
    number alone, and its cost on its own size and not on that of the data; only a pass begins
    with a permutation of the classes.

    Args:
        labels: Class of each sample; one of a negative label is never drawn.
        batch_size: Samples in a batch over all processes.
        classes: Classes in a batch.
        seed: Number the passes and the draws depend on.
        start: Batches that were already visited.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If there are fewer classes, they have no sample each, or a batch cannot be
            shared evenly.
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
            raise ConfigError(
                "labels.classes_per_batch must be from 1 to the number of classes that have "
                f"samples, {len(self.sizes)}; got {classes}"
            )
        if batch_size < classes:
            raise ConfigError(
                f"data.batch_size must be at least the classes in a batch, {classes}, so that "
                f"each has a sample; got {batch_size}"
            )
        self.part = own_part(batch_size, rank, world_size)
        self.batch_size, self.classes, self.seed, self.start = batch_size, classes, seed, start

    @property
    def per_epoch(self) -> int:
        """Whole batches in as many samples as have a label, at least 1; no pass over classes."""
        return max(1, len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        columns = torch.arange(self.classes)
        per_pass = -(-len(self.sizes) // self.classes)
        number, first = divmod(self.start, per_pass)
        while True:
            order = shuffled(len(self.sizes), self.seed, number)
            for i in range(first, per_pass):
                chosen = order[(i * self.classes + columns) % len(order)]
                yield self._rows(chosen, number * per_pass + i)[self.part]
            number, first = number + 1, 0

    def _rows(self, chosen: Int[Tensor, " classes"], batch: int) -> Int[Tensor, " samples"]:
        draw, most = random.Random(f"{self.seed} {batch}"), -(-self.batch_size // self.classes)
        drawn = torch.tensor([_draw(draw, size, most) for size in self.sizes[chosen].tolist()])
        # Of what a class draws beyond its fraction nothing is left after the cut.
        places = (self.offsets[chosen, None] + drawn).T.flatten()[: self.batch_size]
        return self.order[places]


@final
class NeighborBatches(Sampler[Tensor]):
    """This process's part of batches around an anchor, for labels that are numbers; without end.

    The first row is the anchor, then come those nearest to it by Euclidean distance of the
    labels, then random others, all distinct. Which of equally near ones are taken is random.
    Anchors come from shuffled passes over all samples, each in as many batches as there are
    samples. A batch depends on ``seed`` and its number alone, and costs one look at all labels.

    Args:
        targets: What each sample shows: a number, or a vector such as a pose.
        batch_size: Samples in a batch over all processes.
        nearest: Samples of a batch that are nearest to its anchor.
        seed: Number the passes and the draws depend on.
        start: Batches that were already visited.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        ConfigError: If there is less than one batch, no room for the nearest, a target is not
            finite, or a batch cannot be shared evenly.

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
        if not 1 <= batch_size <= len(targets):
            raise ConfigError(
                f"data.batch_size must be from 1 to the number of samples, {len(targets)}; "
                f"got {batch_size}"
            )
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
        """Whole batches in as many samples as there are; a pass over anchors takes more."""
        return len(self.targets) // self.batch_size

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        number, first = divmod(self.start, len(self.targets))
        while True:
            order = shuffled(len(self.targets), self.seed, number)
            for i in range(first, len(order)):
                yield self._rows(order[i : i + 1], number * len(order) + i)[self.part]
            number, first = number + 1, 0

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
    """Numbers below ``size``, all of them before one comes again."""
    whole, rest = divmod(count, size)
    drawn = [number for _ in range(whole) for number in draw.sample(range(size), size)]
    return drawn + draw.sample(range(size), rest)
