"""Which labeled samples are trained on, which are held out, and how batches are cut."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.config import ConfigError
from ssl_dml.data.class_batches import ClassBatches, NeighborBatches
from ssl_dml.data.dataset import SampleSet
from ssl_dml.data.samplers import EpochBatches
from ssl_dml.data.splits import MIN_PER_CLASS, hold_out, limit_per_class, relabel
from ssl_dml.distributed import rank, world_size
from ssl_dml.types import Indices, Labels


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How labels are used.

    Args:
        per_class: Samples of each class to train on, drawn by the run's seed; null for all.
        classes_per_batch: Distinct classes in a batch, over which its samples are spread evenly;
            null shuffles samples without regard to their class.
        continuous: Whether labels are numbers, such as an age or a pose; for the heads LogRatio
            and DenseTriplet.
        nearest: Samples of a batch whose numbers are nearest to that of its first, around which it
            is drawn; null shuffles.
    """

    per_class: int | None = None
    classes_per_batch: int | None = None
    continuous: bool = False
    nearest: int | None = None

    def __post_init__(self) -> None:
        for name in ("per_class", "classes_per_batch", "nearest"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"labels.{name} must be at least 1, got {value}")
        if self.nearest is not None and not self.continuous:
            raise ConfigError("labels.nearest is for numbers: set labels.continuous")
        if self.nearest is not None and self.classes_per_batch is not None:
            raise ConfigError("give either labels.nearest or labels.classes_per_batch")


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is held out of training to measure retrieval on; test samples are never looked at.

    Args:
        fraction: Of the classes, or of the samples of each; null holds nothing out.
        by: ``classes`` holds out whole classes, of which each sample is searched among the
            others; ``samples`` some of each class, which are searched among those trained on.
        every_epochs: Passes over the data between two measurements.
        seed: Number that what is held out depends on.
    """

    fraction: float | None = 0.1
    by: Literal["classes", "samples"] = "classes"
    every_epochs: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise ConfigError(
                f"validation.fraction must be above 0 and below 1, got {self.fraction}"
            )
        if self.every_epochs < 1:
            raise ConfigError(
                f"validation.every_epochs must be at least 1, got {self.every_epochs}"
            )


@dataclass(frozen=True, kw_only=True)
class LabeledSplit:
    """A data set divided for training with labels.

    Args:
        labels: Class of each sample that is trained on, from 0 without gaps; -1 of all others.
        num_classes: Number of those classes.
        queries: Rows held out; none where nothing is.
        gallery: Rows they are searched among; None for one another.
        numbers: Where labels are numbers, those of each class of the data set; see
            :func:`numbers_of`.
        targets: The same of each sample, anything without a label.
    """

    labels: Labels
    num_classes: int
    queries: Int[Tensor, " queries"]
    gallery: Int[Tensor, " gallery"] | None
    numbers: Float[Tensor, "classes values"] | None = None
    targets: Float[Tensor, "samples values"] | None = None

    @property
    def given(self) -> Labels | Float[Tensor, "samples values"]:
        """What a head is given of each sample: its class, or its numbers."""
        return self.labels if self.targets is None else self.targets

    @property
    def fingerprint(self) -> str:
        """Changes with the label of any sample that is trained on, and with what is held out."""
        found = hashlib.sha256(self.given.numpy().tobytes())
        for rows in (self.labels, self.queries):
            found.update(rows.numpy().tobytes())
        return found.hexdigest()[:16]


def split_labeled(
    samples: SampleSet, labels: LabelConfig, validation: ValidationConfig, *, seed: int
) -> LabeledSplit:
    """Choose what is trained on and what is held out.

    Raises:
        ConfigError: If there are no labels, too few classes, or labels to be numbers are not.
    """
    if samples.labels is None:
        raise ConfigError(
            "fine-tuning needs labels and the samples have none: put them in sub-folders named by "
            "class, or name their column with data.label_column; data.use_labels must be true"
        )
    numbers = numbers_of(samples.class_names) if labels.continuous else None
    rows = (samples.labels >= 0).nonzero()[:, 0]
    queries = rows[:0]
    if validation.fraction is not None:
        rows, queries = hold_out(
            samples.labels,
            fraction=validation.fraction,
            by=validation.by,
            seed=validation.seed,
            min_per_class=1 if labels.continuous else MIN_PER_CLASS,
        )
    if labels.per_class is not None:
        rows = limit_per_class(samples.labels, rows, count=labels.per_class, seed=seed)
    classes, number = relabel(samples.labels, rows)
    if number < 2:  # noqa: PLR2004 - nothing to tell apart
        raise ConfigError(f"fine-tuning needs 2 classes or more to train on, got {number}")
    gallery = rows if validation.by == "samples" and len(queries) else None
    return LabeledSplit(
        labels=classes,
        num_classes=number,
        queries=queries,
        gallery=gallery,
        numbers=numbers,
        targets=None if numbers is None else numbers[samples.labels],
    )


def numbers_of(class_names: Sequence[str]) -> Float[Tensor, "classes values"]:
    """What samples of each class show, less the mean so that large numbers keep their digits.

    Args:
        class_names: Each a number, or as many numbers with spaces between them.

    Raises:
        ConfigError: If one is anything else.
    """
    rows: list[list[float]] = []
    for name in class_names:
        try:
            rows.append([float(word) for word in name.split()])
        except ValueError:
            rows.append([])
        if not rows[-1] or not all(map(isfinite, rows[-1])) or len(rows[-1]) != len(rows[0]):
            raise ConfigError(
                "labels that are numbers are wanted, as many of each sample, and one is "
                f"{name!r}: leave labels.continuous out for classes"
            )
    table = torch.tensor(rows, dtype=torch.float64)
    return (table - table.mean(dim=0)).float()


@final
class LabeledBatches:
    """This process's part of every batch of the labeled samples, without end.

    Args:
        rows: What is trained on.
        config: How batches are cut.
        batch_size: Samples in a batch over all processes.
        seed: Number the order depends on.
        start: Batches already visited.
    """

    def __init__(
        self,
        rows: LabeledSplit,
        config: LabelConfig,
        *,
        batch_size: int,
        seed: int,
        start: int = 0,
    ) -> None:
        place = {"seed": seed, "start": start, "rank": rank(), "world_size": world_size()}
        self.trained: Tensor | None = None
        if config.classes_per_batch is not None:
            self.order = ClassBatches(
                rows.labels, batch_size, classes=config.classes_per_batch, **place
            )
            return
        self.trained = (rows.labels >= 0).nonzero()[:, 0]
        if config.nearest is not None:
            assert rows.targets is not None
            targets = rows.targets[self.trained]
            self.order = NeighborBatches(targets, batch_size, nearest=config.nearest, **place)
        else:
            self.order = EpochBatches(len(self.trained), batch_size, **place)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return self.order.per_epoch

    def __iter__(self) -> Iterator[Indices]:
        for batch in self.order:
            yield batch if self.trained is None else self.trained[batch]
