"""Nearest-neighbor search over all pairs of rows: exact to the last tie, or fast in float32."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import faiss
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.distances import Distance, distances
from ssl_dml.evaluation.compute import CPU, ONE_PROCESS, Compute
from ssl_dml.evaluation.products import largest_products
from ssl_dml.evaluation.spaces import Space
from ssl_dml.types import ConfigError

Metric = Distance
Excluded = tuple[Int[Tensor, " rows"], Int[Tensor, " queries"]]
WIDTH = 8192  # gallery rows compared at once
TILE = 2**21  # values of each kind held at once
ROUNDING = 1e-13  # squared distances below this part of the largest squared length are 0
LAST = torch.iinfo(torch.int64).max
FAST = 2**24  # pairs from which on float32 chooses candidates
SPARE = 28  # candidates beyond those that are needed
WIDE = 2**23  # values of rows in float64 at once
FARTHER = 8  # times as many beside a device
MOST_NUMBERS = 64  # for each of which the rows that are not excluded are searched


def nearest(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "queries dim"] | None,
    depths: Int[Tensor, " queries"],
    *,
    metric: Metric,
    exclude: Excluded | None = None,
    compute: Compute = ONE_PROCESS,
) -> Iterator[tuple[Int[Tensor, " chunk"], Int[Tensor, "chunk depth"]]]:
    """The nearest gallery rows of each query, from near to far, for some queries at a time.

    Distances are computed in float64 and compared in float32. Of equal ones, such as those of
    copies, the lower row comes first. Memory does not grow with the square of the rows. Where
    there are many pairs, float32 chooses candidates with so much to spare that the result is the
    same; queries where that cannot be shown are searched for in float64.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        depths: How many neighbors each query needs; queries that need 0 are left out.
        metric: Which distance; ``cosine`` ignores the lengths of rows.
        exclude: A number of each gallery row and of each query: no query finds rows of its number.
        compute: Where distances are computed, and of which queries: this process searches for its
            share.

    Yields:
        Indices of some queries, and the neighbors of each, as many as any of these needs, and -1
        where there are no more.

    >>> line = torch.tensor([[0.0], [1.0], [1.9]])
    >>> list(nearest(line, None, torch.tensor([1, 0, 2]), metric="euclidean"))
    [(tensor([2, 0]), tensor([[1, 0],
            [1, 2]]))]
    """
    queries = gallery if query is None else query
    if query is None and exclude is None:
        exclude = torch.arange(len(gallery)), torch.arange(len(gallery))
    space = Space(gallery, metric)
    ends = space.squared_lengths(gallery, queries)
    search = _Search(gallery, queries, space, exclude, ends, compute)
    # From deep to shallow, so that each chunk looks no deeper than it must.
    rows = depths.argsort(descending=True, stable=True)[: int((depths > 0).sum())][compute.share]
    while len(rows):
        depth = int(depths[rows[0]])
        if len(rows) * len(gallery) >= FAST and len(gallery) >= 8 * depth:
            size = min(2 * TILE // depth, search.wide // gallery.shape[1])
            find = search.fast
        else:
            size = TILE // (depth + max(depth, min(WIDTH, len(gallery))))
            find = search.exact
        chunk, rows = rows[: max(1, size)], rows[max(1, size) :]
        yield from find(chunk, depth)


class _Search(NamedTuple):
    gallery: Float[Tensor, "rows dim"]
    queries: Float[Tensor, "queries dim"]
    space: Space
    exclude: Excluded | None
    squared_lengths: tuple[float, float]  # the smallest and the largest
    compute: Compute

    @property
    def wide(self) -> int:
        """Values of rows at once; fewer passes over the gallery where a device computes."""
        return WIDE * (1 if self.compute.device == CPU else FARTHER)

    @property
    def unit(self) -> bool:
        """Whether all rows have length 1, so that products have the order of distances."""
        least, most = self.squared_lengths
        return least > 1 - ROUNDING and most < 1 + ROUNDING

    def keys(
        self, far: Float[Tensor, "queries some"], rows: Int[Tensor, "#queries some"]
    ) -> Int[Tensor, "queries some"]:
        """Squared distances in float32 and rows as integers of their order, no two of them equal.

        The bits of positive floats have the order of the floats; the row is the lower half.
        """
        far = F.threshold(far, ROUNDING * self.squared_lengths[1], 0.0)  # between copies: rounding
        return (far.float().view(torch.int32).long() << 32) | rows

    def exact(
        self, chunk: Int[Tensor, " chunk"], depth: int
    ) -> Iterator[tuple[Int[Tensor, " chunk"], Int[Tensor, "chunk depth"]]]:
        """The nearest rows of some queries, by all distances in float64."""
        device = self.compute.precise
        query = self.space.query(self.queries[chunk]).to(device)
        best, first = torch.empty(len(chunk), 0, dtype=torch.long, device=device), 0
        for part in self.gallery.split(max(WIDTH, depth)):
            rows = torch.arange(first, first := first + len(part))
            far = distances(query, self.space.gallery(part).to(device), kind="squared")
            keys = self.keys(far, rows[None].to(device))
            if self.exclude is not None:
                alike = self.exclude[1][chunk][:, None] == self.exclude[0][rows]
                keys = torch.where(alike.to(device), LAST, keys)
            best = torch.cat([best, keys], dim=1)
            best = best.topk(min(depth, best.shape[1]), dim=1, largest=False).values
        yield chunk, _rows_of(best.cpu())

    def fast(
        self, chunk: Int[Tensor, " chunk"], depth: int
    ) -> Iterator[tuple[Int[Tensor, " some"], Int[Tensor, "some depth"]]]:
        """The same, of candidates by float32."""
        for some, among, excluded in self._alike(chunk, depth):
            total = len(self.gallery) if among is None else len(among)
            wanted = min(depth + excluded + SPARE, total)
            query = self.space.query(self.queries[some])
            far, rows = self._candidates(query, among, wanted)
            # Of a product in float32, twice; and of both squared lengths, unless these are 1.
            products = 2 if self.unit else 4
            error = (self.gallery.shape[1] + 12) * 2.0**-24 * products * self.squared_lengths[1]
            refined = self._refined(query, far, rows, error, depth + excluded)
            keys = self.keys(refined, rows)
            if self.exclude is not None:
                keys[self.exclude[1][some][:, None] == self.exclude[0][rows]] = LAST
            keys = keys.sort(dim=1).values[:, :depth]
            limit = (far[:, -1:].double() - 3 * error).clamp(min=0)  # of all other rows, at least
            sure = (keys[:, -1:] < self.keys(limit, torch.zeros_like(rows[:, :1])))[:, 0]
            sure |= wanted == total
            if sure.any():
                yield some[sure], _rows_of(keys[sure])
            left = some[~sure]
            step = max(1, TILE // (depth + max(depth, WIDTH)))
            for first in range(0, len(left), step):
                yield from self.exact(left[first : first + step], depth)

    def _alike(
        self, chunk: Int[Tensor, " chunk"], depth: int
    ) -> Iterator[tuple[Int[Tensor, " some"], Int[Tensor, " among"] | None, int]]:
        """Queries, the rows they search among (None: all), and how many of these are excluded."""
        if self.exclude is None:
            yield chunk, None, 0
            return
        numbers, own = self.exclude[0], self.exclude[1][chunk]
        counts = counts_of(numbers, own)
        few = counts <= max(depth, len(numbers) // MOST_NUMBERS)
        most = int(counts[few].max()) if few.any() else 0
        some, step = chunk[few], max(1, 2 * TILE // (depth + most))
        for first in range(0, len(some), step):
            yield some[first : first + step], None, most  # found and dropped
        for number in own[~few].unique():
            yield chunk[own == number], (numbers != number).nonzero()[:, 0], 0

    def _candidates(
        self, query: Float[Tensor, "chunk mapped"], among: Int[Tensor, " among"] | None, count: int
    ) -> tuple[Float[Tensor, "chunk count"], Int[Tensor, "chunk count"]]:
        """Squared distances in float32 and rows, from near to far."""
        query = query.float()
        rows = torch.arange(len(self.gallery)) if among is None else among
        far, found = torch.empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.long)
        for part in rows.split(max(4 * count, self.wide // self.gallery.shape[1])):
            mapped = self.space.gallery(self.gallery[part]).float()
            apart, own = self._closest(query, mapped, min(count, len(part)))
            far = torch.cat([far, apart], dim=1)
            found = torch.cat([found, part[own]], dim=1)
            far, order = far.topk(min(count, far.shape[1]), dim=1, largest=False)
            found = found.gather(1, order)
        return far, found

    def _closest(
        self, query: Float[Tensor, "chunk dim"], mapped: Float[Tensor, "part dim"], count: int
    ) -> tuple[Float[Tensor, "chunk count"], Int[Tensor, "chunk count"]]:
        """Squared distances and places of the nearest, by faiss or on the device."""
        if self.compute.device == CPU:
            metric = faiss.METRIC_INNER_PRODUCT if self.unit else faiss.METRIC_L2
            found, own = faiss.knn(query.numpy(), mapped.numpy(), count, metric=metric)
            far, own = torch.from_numpy(found), torch.from_numpy(own)
            return (2 - 2 * far if self.unit else far), own
        lengths = mapped.square().sum(dim=1), query.square().sum(dim=1, keepdim=True)
        halves, rest = (None, 2) if self.unit else (-lengths[0] / 2, lengths[1])
        near, own = largest_products(mapped, query, count, device=self.compute.device, added=halves)
        return rest - 2 * near, own

    def _refined(
        self,
        queries: Float[Tensor, "chunk mapped"],
        far: Float[Tensor, "chunk count"],
        rows: Int[Tensor, "chunk count"],
        error: float,
        depth: int,
    ) -> Float[Tensor, "chunk count"]:
        """Squared distances, in float64 where the next is too close for float32 to say.

        Beyond the depth that is needed, only what such a chain of close ones connects with it.
        """
        close = far.diff(dim=1) <= 2 * error
        close[:, depth - 1 :] = close[:, depth - 1 :].cumprod(dim=1).bool()
        places = (F.pad(close, (0, 1)) | F.pad(close, (1, 0))).nonzero()
        far = far.double()
        for part in places.split(WIDE // 2 // self.gallery.shape[1]):
            query, place = part.unbind(dim=1)
            apart = self.space.gallery(self.gallery[rows[query, place]])
            apart -= queries[query]
            far[query, place] = apart.square_().sum(dim=1)
        return far


def _rows_of(keys: Int[Tensor, "queries some"]) -> Int[Tensor, "queries some"]:
    return torch.where(keys == LAST, -1, keys & (2**32 - 1))


def counts_of(
    numbers: Int[Tensor, " rows"], wanted: Int[Tensor, " queries"]
) -> Int[Tensor, " queries"]:
    """How often each of some numbers is among others.

    >>> counts_of(torch.tensor([4, 4, 9]), torch.tensor([9, 4, 5]))
    tensor([1, 2, 0])
    """
    known, counts = numbers.unique(return_counts=True)
    places = torch.searchsorted(known, wanted).clamp(max=len(known) - 1)
    return counts[places] * (known[places] == wanted)


def most_similar(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "queries dim"],
    k: int,
    *,
    device: torch.device = CPU,
) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
    """The k largest cosines of each query and their gallery rows, computed in float32.

    Faiss computes them on the CPU, torch on a device. Every pair is compared, but rounding, about
    1e-7, decides between cosines that are closer than that, and equal ones come in any order. It
    is several times faster than :func:`nearest`.

    >>> most_similar(torch.eye(3), torch.tensor([[3.0, 4.0, 0.0]]), 2)
    (tensor([[0.8000, 0.6000]]), tensor([[1, 0]]))
    """
    rows, queries = (F.normalize(x.float(), dim=1) for x in (gallery, query))
    if device != CPU:
        return largest_products(rows, queries, k, device=device)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows.numpy())  # pyright: ignore[reportCallIssue] - faiss wraps it at import
    cosines, found = index.search(queries.numpy(), k)  # pyright: ignore[reportCallIssue]
    return torch.from_numpy(cosines), torch.from_numpy(found)


def check_ks(ks: Sequence[int], count: int, section: str = "") -> None:
    """Raise unless there are ks and each is from 1 to the number of rows that are searched.

    Args:
        ks: Numbers of neighbors.
        count: Number of rows that are searched.
        section: Part of the configuration that has them; "" for a plain argument.

    Raises:
        ConfigError: Naming ``section.ks``, if a section is given.
        ValueError: Naming ``ks``, otherwise.

    >>> check_ks([1, 300], 200, "knn")
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: knn.ks must be from 1 to 200, the rows to search; got [1, 300]: \
set it to [1]
    """
    if not ks or min(ks) < 1 or max(ks) > count:
        name = f"{section}.ks" if section else "ks"
        error = ConfigError if section else ValueError
        possible = [k for k in ks if 1 <= k <= count] or [count]
        remedy = f"set it to {possible}" if count > 0 else "give more samples to search"
        raise error(
            f"{name} must be from 1 to {count}, the rows to search; got {list(ks)}: {remedy}"
        )
