"""Clusters around the peaks of density, as many as there are."""

from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 65_536
EXACT = 30_000  # rows up to which every pair is compared
PROBES, PER_LIST = 8, 32  # lists that are searched, and rows that train the center of each


def density_clusters(
    rows: Float[Tensor, "rows dim"], *, neighbors: int = 5, prominence: float = 0.2
) -> Int[Tensor, " rows"]:
    r"""Cluster of each row, from 0, by the peaks of density; their number is found.

    A row's radius is its mean distance to its nearest neighbors, of unit rows; a small one is a
    high density. Each row follows its nearest neighbor of a smaller radius, and rows without one
    are peaks. Two clusters meet where neighbors of each other are in both: at the least, over these
    pairs, of the larger radius. From the densest meeting on, the cluster of the lower peak joins
    the other if its peak's radius :math:`r` and the meeting's :math:`s` are alike:
    :math:`s \le (1 + p) \, r`.

    The neighbors are exact for up to 30,000 rows. For more, an inverted file by faiss finds nearly
    all of them. Rows that are copies of each other have a radius of 0 and stay a cluster.

    Args:
        rows: Embeddings of any length.
        neighbors: Number of nearest neighbors, below that of the rows; more see fewer clusters.
        prominence: p, how much a peak must stand out, from 0; more see fewer clusters.

    References:
        Koontz et al., 1976, IEEE Transactions on Computers 25 (follow the density);
        Chazal et al., 2013, Journal of the ACM 60 (join by prominence).

    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> density_clusters(rows, neighbors=1)
    tensor([0, 0, 1, 1])
    """
    apart, near = _neighbors(rows, neighbors)
    count, radius = len(rows), apart.mean(axis=1)
    rank = np.empty(count, np.int64)
    rank[np.lexsort((np.arange(count), radius))] = np.arange(count)
    denser = rank[near] < rank[:, None]
    nearest = near[np.arange(count), denser.argmax(axis=1)]
    peak = np.where(denser.any(axis=1), nearest, np.arange(count))
    while (following := peak[peak]).tobytes() != peak.tobytes():
        peak = following
    low, high, meeting = _meetings(peak, near, radius)
    joined = {int(one): int(one) for one in np.unique(peak)}
    for one, two, at in zip(low.tolist(), high.tolist(), meeting.tolist(), strict=True):
        ends = sorted((_end(joined, one), _end(joined, two)), key=lambda end: rank[end])
        if at <= (1 + prominence) * radius[ends[1]]:
            joined[ends[1]] = ends[0]
    peaks, places = np.unique(peak, return_inverse=True)
    ends = np.array([_end(joined, int(one)) for one in peaks])
    return torch.from_numpy(np.unique(ends, return_inverse=True)[1][places])


def _end(joined: dict[int, int], peak: int) -> int:
    """The peak that a cluster has become part of."""
    while (above := joined[peak]) != peak:
        joined[peak] = joined[above]
        peak = above
    return peak


def _meetings(
    peak: Int[np.ndarray, " rows"],
    near: Int[np.ndarray, "rows near"],
    radius: Float[np.ndarray, " rows"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks of the clusters that meet, each pair once, and their radius, from small to large."""
    here, there = np.repeat(peak, near.shape[1]), peak[near.ravel()]
    at = np.maximum(np.repeat(radius, near.shape[1]), radius[near.ravel()])
    apart = here != there
    low, high, at = np.minimum(here, there)[apart], np.maximum(here, there)[apart], at[apart]
    order = np.lexsort((at, high, low))
    low, high, at = low[order], high[order], at[order]
    first = np.ones(len(low), np.bool_)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    low, high, at = low[first], high[first], at[first]
    order = np.argsort(at, kind="stable")
    return low[order], high[order], at[order]


def _neighbors(
    rows: Float[Tensor, "rows dim"], count: int
) -> tuple[Float[np.ndarray, "rows near"], Int[np.ndarray, "rows near"]]:
    """Distances of unit rows to the nearest others, and which these are."""
    index = _index(rows)
    apart, near = [], []
    for first in range(0, len(rows), CHUNK):
        part = F.normalize(rows[first : first + CHUNK].float(), dim=1).numpy()
        squared, found = index.search(part, count + 1)
        own = np.arange(first, first + len(part))[:, None]
        squared = np.where(found < 0, 4.0, squared)  # fewer are in the lists that were searched
        found = np.where(found < 0, own, found)
        others = np.argsort(found == own, axis=1, kind="stable")[:, :count]
        apart.append(np.sqrt(np.take_along_axis(squared, others, axis=1).clip(min=0)))
        near.append(np.take_along_axis(found, others, axis=1))
    return np.concatenate(apart), np.concatenate(near)


def _index(rows: Float[Tensor, "rows dim"]) -> Any:  # noqa: ANN401 - faiss has no types
    flat: Any = faiss.IndexFlatL2(rows.shape[1])
    index = flat
    if len(rows) > EXACT:
        lists = 2 * int(len(rows) ** 0.5)
        index = faiss.IndexIVFFlat(flat, rows.shape[1], lists)
        index.nprobe, index.cp.niter, index.cp.min_points_per_centroid = PROBES, 5, 1
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        chosen = chosen[: PER_LIST * lists]
        index.train(F.normalize(rows[chosen].float(), dim=1).numpy())
    for part in rows.split(CHUNK):
        index.add(F.normalize(part.float(), dim=1).numpy())
    return index
