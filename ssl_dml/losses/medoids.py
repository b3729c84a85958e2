"""Search for the clustering around medoids that violates the margin of facility location most.

A candidate medoid is scored by the points that would move to it, and by the cells of the
contingency table (classes by clusters) that they leave. All candidates of a step are scored at
once.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Normalizer = Literal["geometric", "arithmetic"]
Distances = Float[np.ndarray, "batch batch"]
Groups = Int[np.ndarray, " batch"]


def worst_medoids(
    distances: Distances, classes: Groups, *, margin: float, normalizer: Normalizer, sweeps: int
) -> tuple[Int[np.ndarray, " clusters"], Groups]:
    """Find medoids with a high ``-energy + margin * (1 - NMI)``, and the cluster of each point.

    Args:
        distances: Distances of all points, 0 on the diagonal.
        classes: Class of each point, from 0 without gaps. There are as many medoids as classes.
        margin: Weight of the NMI.
        normalizer: Mean of the entropies that the NMI divides by.
        sweeps: Sweeps of partitioning around medoids after the greedy search.
    """
    score = _Scores(classes, normalizer)
    medoids = _greedy(distances, score, margin)
    for _ in range(sweeps):
        _refine(distances, medoids, score, margin)
    return medoids, assign(distances, medoids)


def assign(distances: Distances, medoids: Int[np.ndarray, " clusters"]) -> Groups:
    """Assign each point to its nearest medoid, the first of several; a medoid to itself."""
    groups = distances[:, medoids].argmin(axis=1)
    groups[medoids] = np.arange(len(medoids))
    return groups


def nmi(classes: Groups, groups: Groups, *, normalizer: Normalizer) -> float:
    """Mutual information of two partitions over the mean of their entropies, from 0 to 1.

    It is 1 for two partitions of a single part, and 0 for a single part against several.

    Examples:
        >>> import numpy as np
        >>> from ssl_dml.losses.medoids import nmi
        >>> nmi(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), normalizer="geometric")
        1.0
    """
    scores = _Scores(classes, normalizer)
    none = np.zeros((len(classes), 1), dtype=bool)
    return float(scores.after(groups, int(groups.max()) + 1, none)[0])


class _Scores:
    """NMI of the classes with partitions that differ from a given one in one part."""

    def __init__(self, classes: Groups, normalizer: Normalizer) -> None:
        self.classes, self.normalizer = classes, normalizer
        counts = np.arange(len(classes) + 1)
        self.table = counts * np.log(np.maximum(counts, 1))  # n log n
        self.number = int(classes.max()) + 1
        self.of_classes = self._entropy(np.bincount(classes)[:, None])

    def after(
        self, groups: Groups, count: int, moved: Bool[np.ndarray, "batch candidates"]
    ) -> Float[np.ndarray, " candidates"]:
        """NMI once the points of each column have moved to a new part.

        Args:
            groups: Part of each point before, below ``count``.
            count: Number of parts.
            moved: Which points move.
        """
        # Only cells with a point matter, and there are at most as many as points.
        cells, own = np.unique(self.classes * count + groups, return_inverse=True)
        joint = self._left(own, len(cells), moved)
        parts = self._left(groups, count, moved)
        gone = _sums(self.classes, self.number, moved)
        together = self._entropy(np.concatenate([joint, gone]))
        of_parts = self._entropy(np.concatenate([parts, moved.sum(axis=0, keepdims=True)]))
        shared = self.of_classes + of_parts - together
        if self.normalizer == "geometric":
            mean = np.sqrt(self.of_classes * of_parts)
        else:
            mean = (self.of_classes + of_parts) / 2
        # Rounding leaves the entropy of a single part at 0 or just above.
        tiny = 1e-12
        alike = np.where(self.of_classes + of_parts < tiny, 1.0, 0.0)
        return np.where(mean < tiny, alike, shared / np.maximum(mean, tiny)).clip(0.0, 1.0)

    def _left(self, own: Groups, count: int, moved: np.ndarray) -> np.ndarray:
        before = np.bincount(own, minlength=count)[:, None]
        return before - _sums(own, count, moved)

    def _entropy(self, counts: Int[np.ndarray, "parts candidates"]) -> np.ndarray:
        points = len(self.classes)
        found = np.log(points) - self.table[counts].sum(axis=0) / points
        return np.maximum(found, 0.0)  # rounding may put it just below 0


def _sums(own: Groups, count: int, moved: Bool[np.ndarray, "batch candidates"]) -> np.ndarray:
    """How many points of each group move, for each candidate."""
    order = own.argsort(kind="stable")
    begins = np.searchsorted(own[order], np.arange(count))
    running = np.zeros((len(own) + 1, moved.shape[1]), dtype=np.int64)
    np.cumsum(moved[order], axis=0, out=running[1:])
    return running[np.append(begins[1:], len(own))] - running[begins]


def _greedy(distances: Distances, score: _Scores, margin: float) -> Int[np.ndarray, " clusters"]:
    """Add the best medoid, one at a time."""
    points = len(distances)
    medoids: list[int] = []
    nearest, groups = np.full(points, np.inf), np.zeros(points, dtype=np.int64)
    for count in range(score.number):
        reached = np.minimum(nearest[:, None], distances)
        moved = distances < nearest[:, None]
        np.fill_diagonal(moved, True)
        gap = 1 - score.after(groups, max(count, 1), moved)
        value = -reached.sum(axis=0) + margin * gap
        value[medoids] = -np.inf
        best = _first_best(value)
        medoids.append(best)
        nearest = reached[:, best]
        groups = np.where(moved[:, best], count, groups)
    return np.array(medoids)


def _refine(
    distances: Distances, medoids: Int[np.ndarray, " clusters"], score: _Scores, margin: float
) -> None:
    """One sweep: each cluster in turn takes its best member as its medoid.

    The members are those at the start of the sweep.
    """
    groups = assign(distances, medoids)
    number = len(medoids)
    to_medoids = distances[:, medoids]
    for cluster in range(number):
        members = np.flatnonzero(groups == cluster)
        to_medoids[:, cluster] = np.inf
        others = to_medoids.argmin(axis=1)
        nearest = to_medoids[np.arange(len(others)), others]
        near = distances[:, members]
        # Of equally near medoids, the first takes the point.
        limit = nearest[:, None]
        moved = np.where((cluster < others)[:, None], near <= limit, near < limit)
        kept = np.arange(number) != cluster
        moved[medoids[kept]] = False
        others[medoids[kept]] = np.arange(number)[kept]
        moved[members, np.arange(len(members))] = True
        gap = 1 - score.after(others, number, moved)
        value = -near[members].sum(axis=0) + margin * gap
        medoids[cluster] = members[_first_best(value)]
        to_medoids[:, cluster] = distances[:, medoids[cluster]]


def _first_best(values: Float[np.ndarray, " candidates"]) -> int:
    """Index of the first of the largest values, with a tolerance for rounding."""
    return int(np.flatnonzero(values >= values.max() - 1e-10)[0])
