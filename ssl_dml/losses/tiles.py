"""Sums over all similarities of many rows, without the similarity matrix."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml import checks
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup

TILE = 1024  # fits the cache of a CPU
LARGE_TILE = 8192  # 268 MB in single precision: an accelerator would wait for launches of smaller

TileSize = int | Literal["auto"] | None


def log_sum_exp(
    queries: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "keys dim"],
    *,
    scale: float,
    excluded: Int[Tensor, "batch left_out"] | None = None,
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, " batch"]:
    r"""For each query, the logarithm of a sum over the keys of all processes.

    .. math:: \log \sum_{j \notin \mathrm{excluded}_i} e^{\mathrm{scale} \; q_i \cdot k_j}

    Tiles of the similarity matrix are computed, summed and dropped, and computed again in
    backward. So memory grows with the square of ``tile_size`` and never with ``batch * keys``.
    The keys of other processes arrive one after the other around a ring, and their gradients go
    around with them. If queries and keys are the same tensor, a tile also serves as its mirror
    image, which halves the work.

    Args:
        queries: Rows of this process.
        keys: Rows of this process that the queries of all processes see.
        scale: Inverse temperature.
        excluded: Keys that each query leaves out, numbered over all processes in order of rank.
            Only tiles that have some are searched for them if this is on the CPU.
        tile_size: Side of a tile; ``auto`` is 1,024 on a CPU and 8,192 elsewhere, and None computes
            all similarities at once.
        group: The processes.

    Returns:
        Nats; ``-inf`` where no key is left.

    Raises:
        ValueError: If ``tile_size`` is below 1.

    Examples:
        A scale of 0 counts the keys:

        >>> import torch
        >>> from ssl_dml.losses import log_sum_exp
        >>> log_sum_exp(torch.ones(2, 3), torch.ones(9, 3), scale=0.0).exp()
        tensor([9., 9.])
    """
    if tile_size == "auto":
        tile_size = TILE if queries.device.type == "cpu" else LARGE_TILE
    checks.at_least(1, tile_size=tile_size)
    side = max(tile_size or max(len(queries), len(keys)), 1)
    left_out = None if excluded is None else _LeftOut(excluded, len(keys), side, group, queries)
    # Given once, as a step that is compiled refuses a tensor twice.
    others = None if queries is keys else keys
    return _LogSumExp.apply(queries, others, left_out, scale, side, group)  # pyright: ignore[reportReturnType]


class _LeftOut:
    """Keys that are left out, and the tiles that have some.

    Args:
        excluded: Of each query, numbered over all processes.
        count: Keys of a process.
        side: Of a tile.
        group: The processes.
        like: Has the device of the tiles.
    """

    def __init__(
        self, excluded: Tensor, count: int, side: int, group: ProcessGroup, like: Tensor
    ) -> None:
        self.count, self.side, self.blocks = count, side, -(-count // side)
        # They stay as they are until they have arrived, so the host need not wait for that.
        self.rows = excluded.to(like.device, non_blocking=True).split(side)
        self.tiles: set[int] | None = None
        if excluded.device.type == "cpu" and count:
            row, key = torch.arange(len(excluded))[:, None].expand_as(excluded), excluded
            inside = (key >= 0) & (key < count * group.count)
            block = key // count * self.blocks + key % count // side
            self.tiles = set((row // side << 32 | block)[inside].unique().tolist())

    def drop(self, scores: Tensor, row: int, process: int, column: int, dim: int) -> Tensor:
        """A tile, with ``-inf`` where its rows leave out keys, which are along ``dim``."""
        block = process * self.blocks + column
        if self.tiles is not None and (row << 32 | block) not in self.tiles:
            return scores
        excluded = self.rows[row] - (process * self.count + column * self.side)
        excluded = excluded if dim == 1 else excluded.T
        length = scores.shape[dim]
        inside = (excluded >= 0) & (excluded < length)
        bounds = torch.where(inside, -torch.inf, torch.inf).to(scores.dtype)
        return scores.scatter_reduce(dim, excluded.clamp(0, length - 1), bounds, "amin")


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        queries: Tensor,
        keys: Tensor | None,
        left_out: _LeftOut | None,
        scale: float,
        side: int,
        group: ProcessGroup,
    ) -> Tensor:
        ctx.options = left_out, scale, side, group
        rows, block = (queries * scale).split(side), queries if keys is None else keys
        sums: list[list[Tensor]] = [[] for _ in rows]  # of each row, those over each of its tiles
        for turn in range(group.count):
            if turn:
                (block,) = group.ring_shift(block)
            process, columns = _columns(block, side, turn, group)
            for i, j, both in _tiles(len(rows), len(columns), keys is None and not turn):
                scores = rows[i] @ columns[j]
                sums[i].append(_kept(left_out, scores, i, process, j, 1).logsumexp(1))
                if both:
                    sums[j].append(_kept(left_out, scores, j, process, i, 0).logsumexp(0))
        found = torch.cat([torch.stack(those).logsumexp(0) for those in sums])
        ctx.save_for_backward(queries, keys, found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        with torch.autocast(gradients[0].device.type, enabled=False):
            return *_LogSumExp._backward(ctx, gradients[0]), None, None, None, None

    @staticmethod
    def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:  # noqa: ANN401
        """Rows pull keys by ``weight * exp(score - sum)``, and keys pull rows.

        The weight of a row is multiplied where it costs least: for rows at the end, and for keys
        with the rows that pull them.
        """
        queries, keys, found = ctx.saved_tensors
        left_out, scale, side, group = ctx.options
        shared, wanted = keys is None, keys is None or ctx.needs_input_grad[1]
        weight = (gradient * scale)[:, None]
        # A row without a key has no gradient, and -inf - -inf would make one of NaN.
        minus = found.masked_fill(found == -torch.inf, 0.0).neg_()[:, None]
        given = [part.split(side) for part in (queries * scale, queries * weight, minus, weight)]
        rows, pulling, minus, weights = given
        for_queries = torch.zeros_like(queries)
        pulled, block = for_queries.split(side), queries if keys is None else keys
        for_keys = torch.zeros_like(block) if wanted else None
        for turn in range(group.count):
            process, columns = _columns(block, side, turn, group)
            plain, back = block.split(side), for_keys.split(side) if for_keys is not None else None
            for i, j, both in _tiles(len(rows), len(columns), shared and not turn):
                if both and back is not None:
                    scores = rows[i] @ columns[j]
                    pulls = scores + minus[i]
                    pulls = _kept(left_out, pulls, i, process, j, 1).exp_().mul_(weights[i])
                    mirror = scores.add_(minus[j].T)
                    mirror = _kept(left_out, mirror, j, process, i, 0).exp_()
                    pulls.addcmul_(mirror, weights[j].T)
                    back[i].addmm_(pulls, plain[j])
                    back[j].addmm_(pulls.T, plain[i])
                    continue
                pulls = torch.addmm(minus[i], rows[i], columns[j])
                pulls = _kept(left_out, pulls, i, process, j, 1).exp_()
                pulled[i].addmm_(pulls, plain[j])
                if back is not None:
                    back[j].addmm_(pulls.T, pulling[i])
            block, for_keys = _rotated(block, for_keys, turn, group)
        for_queries *= weight
        return (for_queries + for_keys, None) if shared else (for_queries, for_keys)


def _columns(block: Tensor, side: int, turn: int, group: ProcessGroup) -> tuple[int, list[Tensor]]:
    """Whose keys a block holds at a turn, and its tiles' columns."""
    return (group.rank - turn) % group.count, [part.T for part in block.split(side)]


def _rotated(
    block: Tensor, gradient: Tensor | None, turn: int, group: ProcessGroup
) -> tuple[Tensor, Tensor | None]:
    """The next block and its gradient; after the last turn that of one's own keys."""
    last = turn == group.count - 1
    if gradient is None:
        return (block if last else group.ring_shift(block)[0]), None
    if last:
        return block, group.ring_shift(gradient)[0]
    block, gradient = group.ring_shift(block, gradient)
    return block, gradient


def _kept(
    left_out: _LeftOut | None, scores: Tensor, row: int, process: int, column: int, dim: int
) -> Tensor:
    """A tile without the keys that are left out; the same tensor where it has none."""
    return scores if left_out is None else left_out.drop(scores, row, process, column, dim)


def _tiles(rows: int, columns: int, mirrored: bool) -> Iterator[tuple[int, int, bool]]:
    """Numbers of row and column of each tile, and whether it also serves as its mirror image."""
    for row in range(rows):
        for column in range(row if mirrored else 0, columns):
            yield row, column, mirrored and column > row
