"""Labels: which samples to train on, which to hold out, and how to cut batches."""

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from math import isfinite
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, inside, seeds
from ssl_dml.config import ConfigError
from ssl_dml.data.class_batches import ClassBatches, NeighborBatches
from ssl_dml.data.dataset import SampleSet
from ssl_dml.data.samplers import EpochBatches, skipped
from ssl_dml.data.splits import MIN_CLASSES, MIN_PER_CLASS, hold_out, limit_per_class, relabel
from ssl_dml.distributed import rank, world_size
from ssl_dml.progress import say
from ssl_dml.types import Indices, Labels


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How labels are used in training.

    >>> LabelConfig(per_class=0)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: labels.per_class must be at least 1, got 0

    Args:
        per_class: Number of samples of each class to train on, chosen by the run's seed; null for
            all.
        classes_per_batch: Number of classes in a batch, with its samples spread evenly over them;
            null shuffles samples whatever their class.
        continuous: Whether labels are continuous, such as an age or a pose; for the heads LogRatio
            and DenseTriplet.
        nearest: Number of samples of a batch whose labels are nearest to that of its first, with
            continuous labels; null shuffles.
    """

    per_class: int | None = None
    classes_per_batch: int | None = None
    continuous: bool = False
    nearest: int | None = None

    def __post_init__(self) -> None:
        counts = {"per_class": self.per_class, "classes_per_batch": self.classes_per_batch}
        at_least(1, "labels", **counts, nearest=self.nearest)
        if self.nearest is not None and not self.continuous:
            raise ConfigError("labels.nearest is for continuous labels: set labels.continuous")
        if self.nearest is not None and self.classes_per_batch is not None:
            raise ConfigError("give either labels.nearest or labels.classes_per_batch")


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What to hold out of training for validation by retrieval; test samples are never used.

    >>> ValidationConfig(fraction=0.2, by="samples").every_epochs
    5

    Args:
        fraction: Fraction of the classes, or of the samples of each class; null holds nothing out.
        by: ``classes`` holds out whole classes and searches each of their samples among the
            others; ``samples`` holds out some of each class and searches them among the training
            samples.
        every_epochs: Epochs between two validations.
        seed: Seed of the choice.
    """

    fraction: float | None = 0.1
    by: Literal["classes", "samples"] = "classes"
    every_epochs: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        inside(0, 1, "validation", fraction=self.fraction)
        seeds("validation", seed=self.seed)
        at_least(1, "validation", every_epochs=self.every_epochs)


@dataclass(frozen=True, kw_only=True)
class LabeledSplit:
    """A labeled data set, split into training and validation.

    Args:
        labels: Class of each training sample, from 0 without gaps; -1 for all others.
        num_classes: Number of training classes.
        queries: Rows held out for validation; may be empty.
        gallery: Rows that the queries are searched among; None for one another.
        label_values: Continuous label of each class of the data set, see
            :func:`label_values_of`; None if labels are classes.
        targets: Continuous label of each sample; anything where it has none.
    """

    labels: Labels
    num_classes: int
    queries: Int[Tensor, " queries"]
    gallery: Int[Tensor, " gallery"] | None
    label_values: Float[Tensor, "classes values"] | None = None
    targets: Float[Tensor, "samples values"] | None = None

    @property
    def given(self) -> Labels | Float[Tensor, "samples values"]:
        """Label of each sample as a head takes it: its class, or its continuous label."""
        return self.labels if self.targets is None else self.targets

    @property
    def fingerprint(self) -> str:
        """Changes with the label of any training sample and with what is held out."""
        found = hashlib.sha256(self.given.numpy().tobytes())
        for rows in (self.labels, self.queries):
            found.update(rows.numpy().tobytes())
        return found.hexdigest()[:16]


def split_labeled(
    samples: SampleSet, labels: LabelConfig, validation: ValidationConfig, *, seed: int
) -> LabeledSplit:
    """Choose the samples to train on and the samples to hold out.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from ssl_dml.data import DataConfig, load_train
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("ant", "bee", "cat", "dog"):
    ...     (folder / name).mkdir()
    ...     for number in range(3):
    ...         Image.new("L", (8, 8)).save(folder / name / f"{number}.png")
    >>> samples = load_train(DataConfig(source=str(folder)))
    >>> split = split_labeled(samples, LabelConfig(), ValidationConfig(fraction=0.5), seed=0)
    >>> split.num_classes, len(split.queries)
    (2, 6)

    Raises:
        ConfigError: If there are no labels or too few classes, no class has as many samples as
            ``labels.per_class``, or ``labels.continuous`` is set and a label is not a number.
    """
    if samples.labels is None:
        raise ConfigError(
            "fine-tuning needs labels and the samples have none: put them in sub-folders named by "
            "class, or name their column with data.label_column; data.use_labels must be true, and "
            "data.use_splits false if classes are named like splits"
        )
    label_values = label_values_of(samples.class_names) if labels.continuous else None
    rows = (samples.labels >= 0).nonzero()[:, 0]
    if (number := len(samples.labels[rows].unique())) < MIN_CLASSES:
        raise ConfigError(
            f"fine-tuning needs {MIN_CLASSES} classes or more to train on, got {number}: label "
            "samples of others, or pretrain, which needs no labels"
        )
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
        _check_per_class(labels.per_class, samples.labels[rows])
        rows = limit_per_class(samples.labels, rows, count=labels.per_class, seed=seed)
    classes, number = relabel(samples.labels, rows)
    gallery = rows if validation.by == "samples" and len(queries) else None
    return LabeledSplit(
        labels=classes,
        num_classes=number,
        queries=queries,
        gallery=gallery,
        label_values=label_values,
        targets=None if label_values is None else label_values[samples.labels],
    )


def _check_per_class(count: int, labels: Labels) -> None:
    """Raise if no class has so many samples; say so if some have fewer."""
    sizes = labels.unique(return_counts=True)[1]
    if (largest := int(sizes.max())) < count:
        raise ConfigError(
            f"labels.per_class is {count}, and no class has more than {largest} samples to train "
            f"on: set it to {largest} or less, or to null for all"
        )
    if fewer := int((sizes < count).sum()):
        say(
            f"labels.per_class {count}: {fewer:,} of {len(sizes):,} classes have fewer samples to "
            f"train on, the smallest {int(sizes.min())}"
        )


def label_values_of(class_names: Sequence[str]) -> Float[Tensor, "classes values"]:
    """Parse continuous labels from class names; the mean is subtracted, to keep precision.

    >>> label_values_of(["10", "20", "60"]).flatten()
    tensor([-20., -10.,  30.])

    Args:
        class_names: A number each, or the same count of numbers separated by spaces.

    Raises:
        ConfigError: If a name is anything else.
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


def announce_split(rows: LabeledSplit) -> None:
    """Say what is trained on and what is held out."""
    kinds = "classes" if rows.label_values is None else "labels"
    say(f"{int((rows.labels >= 0).sum()):,} samples of {rows.num_classes:,} {kinds} to train on")
    if len(rows.queries):
        among = "one another" if rows.gallery is None else f"{len(rows.gallery):,} trained on"
        say(f"validation: {len(rows.queries):,} samples held out, searched among {among}")


@final
class LabeledBatches:
    """This process's part of every batch of the labeled samples, without end.

    Args:
        rows: What is trained on.
        config: How batches are cut.
        batch_size: Samples in a batch over all processes.
        seed: Number the order depends on.
    """

    def __init__(
        self, rows: LabeledSplit, config: LabelConfig, *, batch_size: int, seed: int
    ) -> None:
        self.trained = (rows.labels >= 0).nonzero()[:, 0]
        part = {"seed": seed, "rank": rank(), "world_size": world_size()}
        self.order: EpochBatches | ClassBatches | NeighborBatches
        if config.classes_per_batch is not None:
            labels = rows.labels[self.trained]
            self.order = ClassBatches(labels, batch_size, classes=config.classes_per_batch, **part)
        elif config.nearest is not None:
            assert rows.targets is not None
            targets = rows.targets[self.trained]
            self.order = NeighborBatches(targets, batch_size, nearest=config.nearest, **part)
        else:
            self.order = EpochBatches(len(self.trained), batch_size, **part)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return self.order.per_epoch

    def skip(self, batches: int) -> "LabeledBatches":
        """The same order after so many more batches."""
        later = copy(self)
        later.order = skipped(self.order, batches)
        return later

    def __iter__(self) -> Iterator[Indices]:
        for batch in self.order:
            yield self.trained[batch]
