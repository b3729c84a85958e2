"""Which classes a weighted kNN takes for which others, each sample left out in turn."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.evaluation.hubs import Neighborhood
from ssl_dml.evaluation.knn import vote


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """A class that is taken for another.

    Args:
        label: The class.
        predicted: What it is taken for.
        rows: The samples of which this is so.
        of: How many samples the class has.
    """

    label: int
    predicted: int
    rows: list[int]
    of: int


def predictions(
    near: Neighborhood, labels: Int[Tensor, " rows"], *, temperature: float = 0.07
) -> Int[Tensor, " rows"]:
    """Class of each row by the votes of its neighbors; see :func:`~ssl_dml.evaluation.knn`."""
    return vote(near.cosines, labels[near.rows], temperature, int(labels.max()) + 1)


def confusions(
    labels: Int[Tensor, " rows"], predicted: Int[Tensor, " rows"], *, most: int = 10
) -> list[Confusion]:
    """The confusions with the most samples, the lower classes first among equals.

    >>> labels, predicted = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    >>> confusions(labels, predicted)
    [Confusion(label=0, predicted=1, rows=[1], of=2)]
    """
    wrong = (labels != predicted).nonzero()[:, 0]
    pairs, which, counts = torch.stack([labels, predicted])[:, wrong].unique(
        dim=1, return_inverse=True, return_counts=True
    )
    worst = counts.argsort(descending=True, stable=True)[:most]
    sizes = labels.bincount(minlength=int(labels.max()) + 1)
    return [
        Confusion(
            label=int(pairs[0, i]),
            predicted=int(pairs[1, i]),
            rows=wrong[which == i].tolist(),
            of=int(sizes[pairs[0, i]]),
        )
        for i in worst
    ]
