"""How well clusters agree with classes."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln
from torch import Tensor

Sizes = Int[np.ndarray, " groups"]
EPS = 1e-14  # of a difference that is rounding


def agreement(labels: Int[Tensor, " rows"], clusters: Int[Tensor, " rows"]) -> dict[str, float]:
    r"""NMI, AMI, ARI and purity of clusters and classes; time and memory are linear in the rows.

    With entropies H(U), H(V) and the mutual information I in nats,

    .. math:: \text{NMI} = \frac{2 I}{H(U) + H(V)} \qquad
        \text{AMI} = \frac{I - E[I]}{(H(U) + H(V)) / 2 - E[I]}

    where E[I] is that of random clusters of the same sizes.

    Args:
        labels: Class of each row, from 0.
        clusters: Cluster of each row, from 0.

    Returns:
        ``nmi`` as above; ``nmi_geometric``, with the root of the product of the entropies in place
        of their mean; ``ami``; ``ari``, the adjusted Rand index; ``purity``, the fraction of rows
        that are of the most frequent class of their cluster. All are 1 for clusters that are the
        classes. ``ami`` and ``ari`` are about 0 for random ones; the others grow with the number
        of clusters.

    Raises:
        ValueError: If there is no row.

    References:
        Strehl and Ghosh, 2002, JMLR 3 (geometric); Vinh et al., 2010, JMLR 11 (arithmetic, AMI);
        Hubert and Arabie, 1985, Journal of Classification 2 (ARI).

    >>> import torch
    >>> found = agreement(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 0]))
    >>> {name: round(value, 3) for name, value in found.items()}
    {'nmi': 0.344, 'nmi_geometric': 0.346, 'ami': 0.0, 'ari': 0.0, 'purity': 0.75}
    """
    if not len(labels):
        raise ValueError("clusters must be of at least one row, got none")
    _, classes = np.unique(labels.numpy(), return_inverse=True)
    _, groups = np.unique(clusters.numpy(), return_inverse=True)
    a, b, n = np.bincount(classes), np.bincount(groups), len(classes)
    cells, counts = np.unique(groups * len(a) + classes, return_counts=True)
    group, own = cells // len(a), cells % len(a)
    information = float((counts / n * np.log(n * counts / (a[own] * b[group]))).sum())
    entropies = [_entropy(a), _entropy(b)]
    mean, root = float(np.mean(entropies)), float(np.sqrt(np.prod(entropies)))
    expected = _expected_information(a, b)
    chance = _pairs(a) * _pairs(b) / max(1.0, n * (n - 1.0) / 2)
    most = np.zeros(len(b), np.int64)
    np.maximum.at(most, group, counts)
    return {
        "nmi": information / mean if mean else 1.0,
        "nmi_geometric": information / root if root else float(mean == 0),
        "ami": _adjusted(information, expected, mean),
        "ari": _adjusted(_pairs(counts), chance, (_pairs(a) + _pairs(b)) / 2),
        "purity": float(most.sum() / n),
    }


def _adjusted(value: float, expected: float, highest: float) -> float:
    """A value from 0, what is expected by chance, to 1; 1 where chance is as good as it gets."""
    room = highest - expected
    return float((value - expected) / room) if abs(room) > EPS * highest else 1.0


def _entropy(sizes: Sizes) -> float:
    fraction = sizes / sizes.sum()
    return float(-(fraction * np.log(fraction)).sum())


def _pairs(sizes: Sizes) -> float:
    """How many pairs of rows are in one group."""
    return float((sizes * (sizes - 1.0) / 2).sum())


def _expected_information(a: Sizes, b: Int[np.ndarray, " clusters"]) -> float:
    """Mean mutual information of two random groupings of these sizes (Vinh et al., eq. 24a)."""
    n, total = int(a.sum()), 0.0
    factorial: Float[np.ndarray, " numbers"] = gammaln(np.arange(n + 1) + 1.0)
    columns, repeats = np.unique(b, return_counts=True)
    for size, count in zip(*np.unique(a, return_counts=True), strict=True):
        low = np.maximum(1, size + columns - n)
        lengths = np.minimum(size, columns) - low + 1
        column, often = np.repeat(columns, lengths), np.repeat(repeats, lengths)
        first = np.repeat(lengths.cumsum() - lengths - low, lengths)
        common = np.arange(len(column)) - first  # every possible number of common rows
        chance = (factorial[size] + factorial[n - size] - factorial[n]) + (
            factorial[column] + factorial[n - column] - factorial[common]
            - factorial[size - common] - factorial[column - common]
            - factorial[n - size - column + common]
        )  # fmt: skip
        gain = common / n * np.log(n * common / (float(size) * column))
        total += count * float((often * gain * np.exp(chance)).sum())
    return total
