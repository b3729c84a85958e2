"""Split labeled samples into training and validation; limit and renumber classes."""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.config import ConfigError

By = Literal["classes", "samples"]
MIN_CLASSES = 2  # to train on, and to validate on
MIN_PER_CLASS = 2  # a validation sample is searched among the others of its class


def hold_out(
    labels: Int[Tensor, " samples"],
    *,
    fraction: float,
    by: By,
    seed: int,
    min_per_class: int = MIN_PER_CLASS,
) -> tuple[Int[Tensor, " train"], Int[Tensor, " validation"]]:
    """Split samples into rows to train on and rows to validate on, both in ascending order.

    >>> labels = torch.arange(40) % 10
    >>> train, validation = hold_out(labels, fraction=0.3, by="classes", seed=0)
    >>> len(train), len(validation), len(labels[validation].unique())
    (28, 12, 3)

    Args:
        labels: Class of each sample; one with a negative label is in neither.
        fraction: Fraction to hold out, rounded to whole classes or samples.
        by: ``classes`` holds out whole classes; ``samples`` holds out a fraction of the samples
            of each class, but never all of them.
        seed: Seed of the choice.
        min_per_class: Samples that a held-out class needs to count; 1 where samples are not
            searched by class.

    Raises:
        ConfigError: If ``fraction`` is not between 0 and 1, or fewer than 2 classes are left on
            either side.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"validation.fraction must be between 0 and 1, got {fraction}")
    held = _held(labels, fraction, by, seed)
    trained, asking = _left(labels, held, by, min_per_class)
    if min(trained, asking) < MIN_CLASSES:
        whole = "" if by == "classes" else "the samples of "
        # Held-out samples are searched among the training samples of their class.
        least = min_per_class if by == "classes" else 1
        needed = f" that have {least} samples or more" if least > 1 else ""
        raise ConfigError(
            f"validation.fraction {fraction} of {whole}{len(_sizes(labels))} classes leaves "
            f"{trained} classes to train on and {asking}{needed} to validate on, and each needs 2; "
            + _remedy(labels, fraction, by, seed, min_per_class)
        )
    known = labels >= 0
    return (known & ~held).nonzero()[:, 0], (known & held).nonzero()[:, 0]


def _held(labels: Int[Tensor, " samples"], fraction: float, by: By, seed: int) -> Tensor:
    """Which samples a fraction holds out."""
    classes, ids, sizes = labels.unique(return_inverse=True, return_counts=True)
    if by == "samples":
        most = (fraction * sizes.double() + 0.5).long().minimum(sizes - 1)
        return _random_ranks(labels, seed) < most[ids]
    classes = classes[classes >= 0]
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    return torch.isin(labels, classes[order[: int(fraction * len(classes) + 0.5)]])


def _left(
    labels: Int[Tensor, " samples"], held: Tensor, by: By, min_per_class: int
) -> tuple[int, int]:
    """How many classes there are to train on, and to validate on."""
    least = min_per_class if by == "classes" else 1
    return len(_sizes(labels[~held])), int((_sizes(labels[held]) >= least).sum())


def _sizes(labels: Int[Tensor, " samples"]) -> Int[Tensor, " classes"]:
    """Number of samples of each class."""
    return labels[labels >= 0].unique(return_counts=True)[1]


def _remedy(
    labels: Int[Tensor, " samples"], fraction: float, by: By, seed: int, min_per_class: int
) -> str:
    """What to set so that these labels can be split."""
    if len(_sizes(labels)) < MIN_CLASSES:
        return f"label samples of {MIN_CLASSES} classes or more"
    if (own := _nearest_fraction(labels, fraction, by, seed, min_per_class)) is not None:
        return f"{'raise' if own > fraction else 'lower'} it to {own}"
    other: By = "samples" if by == "classes" else "classes"
    found = _nearest_fraction(labels, fraction, other, seed, min_per_class)
    if found is None:
        return "set it to null, or label more samples"
    more = "" if found == fraction else f" and validation.fraction to {found}"
    return f"set validation.by to {other}{more}"


def _nearest_fraction(
    labels: Int[Tensor, " samples"], fraction: float, by: By, seed: int, min_per_class: int
) -> float | None:
    """The fraction nearest to the given one that leaves enough on both sides; None without."""
    sizes = _sizes(labels)
    asking = sizes >= (min_per_class if by == "classes" else 2)
    if int(asking.sum()) < MIN_CLASSES or (by == "classes" and len(sizes) < 2 * MIN_CLASSES):
        return None
    hundredths = [number / 100 for number in range(1, 100)]
    for near in sorted([fraction, *hundredths], key=lambda one: abs(one - fraction)):
        held = _held(labels, near, by, seed)
        if min(_left(labels, held, by, min_per_class)) >= MIN_CLASSES:
            return near
    return None


def limit_per_class(
    labels: Int[Tensor, " samples"], rows: Int[Tensor, " rows"], *, count: int, seed: int
) -> Int[Tensor, " kept"]:
    """Keep at most ``count`` rows of each class, in their given order.

    With the same rows and seed, a smaller ``count`` keeps a subset of what a larger one keeps.

    >>> labels = torch.tensor([0, 0, 0, 1, -1])
    >>> kept = limit_per_class(labels, torch.arange(5), count=2, seed=0)
    >>> labels[kept].tolist()
    [0, 0, 1]

    Args:
        labels: Class of each sample.
        rows: Samples to choose from; one with a negative label is never kept.
        count: Maximum number of rows of a class.
        seed: Seed of the choice.

    Raises:
        ConfigError: If ``count`` is less than 1.
    """
    at_least(1, "labels", per_class=count)
    own = labels[rows]
    return rows[(own >= 0) & (_random_ranks(own, seed) < count)]


def relabel(
    labels: Int[Tensor, " samples"], rows: Int[Tensor, " rows"]
) -> tuple[Int[Tensor, " samples"], int]:
    """Renumber the classes of some rows to 0..C-1, in their old order; also return C.

    >>> relabel(torch.tensor([7, 3, 7, 9]), torch.tensor([0, 1, 2]))
    (tensor([ 1,  0,  1, -1]), 2)

    Args:
        labels: Class of each sample.
        rows: Rows that keep a label; all others, and negative labels, become -1.
    """
    rows = rows[labels[rows] >= 0]
    classes, ids = labels[rows].unique(return_inverse=True)
    renamed = torch.full_like(labels, -1)
    renamed[rows] = ids
    return renamed, len(classes)


def _random_ranks(labels: Int[Tensor, " rows"], seed: int) -> Int[Tensor, " rows"]:
    """Rank of each row among those of its class in a random order, from 0."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]
    sizes = labels[order].unique_consecutive(return_counts=True)[1]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return ranks
