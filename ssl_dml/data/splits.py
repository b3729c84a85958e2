"""Which labeled samples train and which validate, and how many there are of each class."""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.config import ConfigError

MIN_CLASSES = 2  # to train on, and to validate on
MIN_PER_CLASS = 2  # a validation sample is searched among the others of its class


def hold_out(
    labels: Int[Tensor, " samples"],
    *,
    fraction: float,
    by: Literal["classes", "samples"],
    seed: int,
    min_per_class: int = MIN_PER_CLASS,
) -> tuple[Int[Tensor, " train"], Int[Tensor, " validation"]]:
    """Rows to train on and rows to validate on, both rising; a row of a negative label is in none.

    Args:
        labels: Class of each sample.
        fraction: Part that is held out, rounded to whole classes or samples.
        by: ``classes`` holds out whole classes, so that none validates that trains; ``samples``
            that fraction of the samples of each class, but never the last of one.
        seed: Number the choice depends on.
        min_per_class: Samples that a held-out class needs to count; 1 where samples are not
            searched by class.

    Raises:
        ConfigError: If ``fraction`` is not between 0 and 1, or leaves fewer than 2 classes to train
            on, or holds out fewer than 2 classes.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"validation.fraction must be between 0 and 1, got {fraction}")
    known = labels >= 0
    classes, numbers, sizes = labels.unique(return_inverse=True, return_counts=True)
    classes = classes[classes >= 0]
    if by == "classes":
        order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
        held = torch.isin(labels, classes[order[: int(fraction * len(classes) + 0.5)]])
    else:
        most = (fraction * sizes.double() + 0.5).long().minimum(sizes - 1)
        held = _places(labels, seed) < most[numbers]
    train, validation = (known & ~held).nonzero()[:, 0], (known & held).nonzero()[:, 0]
    trained = len(labels[train].unique())
    # Held-out samples are searched among the training samples of their class.
    min_per_class = min_per_class if by == "classes" else 1
    asking = int((labels[validation].unique(return_counts=True)[1] >= min_per_class).sum())
    if min(trained, asking) < MIN_CLASSES:
        whole = "" if by == "classes" else "the samples of "
        needed = f" that have {min_per_class} samples or more" if min_per_class > 1 else ""
        remedy = "raise it" if trained >= MIN_CLASSES else "lower it"
        usable = sizes[-len(classes) :] >= (min_per_class if by == "classes" else 2)
        if int(usable.sum()) < MIN_CLASSES:
            remedy = "set it to null, or label more samples"
        raise ConfigError(
            f"validation.fraction {fraction} of {whole}{len(classes)} classes leaves {trained} "
            f"classes to train on and {asking}{needed} to validate on, and each needs 2; {remedy}"
        )
    return train, validation


def limit_per_class(
    labels: Int[Tensor, " samples"], rows: Int[Tensor, " rows"], *, count: int, seed: int
) -> Int[Tensor, " kept"]:
    """So many rows of each class, in the order they had; of a class of fewer all of them.

    For the same rows and seed, those of a smaller count are among those of a larger one.

    Args:
        labels: Class of each sample.
        rows: Which samples to choose from; one of a negative label is never kept.
        count: Rows of a class.
        seed: Number the choice depends on.

    Raises:
        ConfigError: If ``count`` is less than 1.
    """
    if count < 1:
        raise ConfigError(f"the samples kept of each class must be at least 1, got {count}")
    own = labels[rows]
    return rows[(own >= 0) & (_places(own, seed) < count)]


def relabel(
    labels: Int[Tensor, " samples"], rows: Int[Tensor, " rows"]
) -> tuple[Int[Tensor, " samples"], int]:
    """Labels 0..C-1 of some rows in the order of their old ones, -1 elsewhere; and C.

    Args:
        labels: Class of each sample.
        rows: Those that keep one; a negative label becomes -1.
    """
    rows = rows[labels[rows] >= 0]
    classes, numbers = labels[rows].unique(return_inverse=True)
    renamed = torch.full_like(labels, -1)
    renamed[rows] = numbers
    return renamed, len(classes)


def _places(labels: Int[Tensor, " rows"], seed: int) -> Int[Tensor, " rows"]:
    """Place of each row among those of its class in a random order, from 0."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    sizes = labels[order].unique_consecutive(return_counts=True)[1]
    places = torch.empty_like(order)
    places[order] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return places
