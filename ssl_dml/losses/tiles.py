"""Sums over all similarities of many rows, without the similarity matrix."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml import checks
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup

TILE = 1024  # fits the cache of a CPU, and keeps a GPU busy


def log_sum_exp(
    queries: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "keys dim"],
    *,
    scale: float,
    excluded: Int[Tensor, "batch left_out"] | None = None,
    tile_size: int | None = None,
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
        tile_size: Side of a tile; None computes all similarities at once.
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
    checks.at_least(1, tile_size=tile_size)
    if excluded is None:
        excluded = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    side = max(tile_size or max(len(queries), len(keys)), 1)
    mirrored = queries is keys
    return _LogSumExp.apply(queries, keys, excluded, scale, side, group, mirrored)  # pyright: ignore[reportReturnType]


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        queries: Tensor,
        keys: Tensor,
        excluded: Tensor,
        scale: float,
        side: int,
        group: ProcessGroup,
        mirrored: bool,
    ) -> Tensor:
        found = queries.new_full((len(queries),), -torch.inf)
        block = keys
        for turn in range(group.count):
            first = (group.rank - turn) % group.count * len(keys)
            for rows, columns, both in _tiles(len(queries), len(keys), side, mirrored and not turn):
                scores = (queries[rows] @ block[columns].T).mul_(scale)
                kept = _without(scores, excluded[rows] - (first + columns.start), dim=1)
                found[rows] = torch.logaddexp(found[rows], kept.logsumexp(1))
                if both:
                    kept = _without(scores, excluded[columns] - (first + rows.start), dim=0)
                    found[columns] = torch.logaddexp(found[columns], kept.logsumexp(0))
            (block,) = group.ring_shift(block)
        ctx.save_for_backward(queries, keys, excluded, found)
        ctx.scale, ctx.side, ctx.group, ctx.mirrored = scale, side, group, mirrored
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        with torch.autocast(gradients[0].device.type, enabled=False):
            return _LogSumExp._backward(ctx, gradients[0])

    @staticmethod
    def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        queries, keys, excluded, found = ctx.saved_tensors
        weights = gradient * ctx.scale
        # A row without a key has no gradient, and -inf - -inf would make one of NaN.
        found = found.masked_fill(found == -torch.inf, 0.0)

        def weighted(scores: Tensor, rows: slice, before: int, dim: int) -> Tensor:
            kept = _without(scores, excluded[rows] - before, dim)
            return kept.sub_(found[rows].unsqueeze(dim)).exp_().mul_(weights[rows].unsqueeze(dim))

        for_queries, for_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        block = keys
        wanted = ctx.needs_input_grad[1]
        for turn in range(ctx.group.count):
            first = (ctx.group.rank - turn) % ctx.group.count * len(keys)
            mirrored = ctx.mirrored and not turn
            for rows, columns, both in _tiles(len(queries), len(keys), ctx.side, mirrored):
                scores = (queries[rows] @ block[columns].T).mul_(ctx.scale)
                pulls = weighted(scores, rows, first + columns.start, dim=1)
                if both:
                    pulls += weighted(scores, columns, first + rows.start, dim=0)
                for_queries[rows].addmm_(pulls, block[columns])
                if both:
                    for_queries[columns].addmm_(pulls.T, queries[rows])
                elif wanted:
                    for_keys[columns].addmm_(pulls.T, queries[rows])
            block, for_keys = ctx.group.ring_shift(block, for_keys)
        return for_queries, for_keys if wanted else None, None, None, None, None, None


def _without(scores: Tensor, excluded: Tensor, dim: int) -> Tensor:
    """A copy of a tile, with ``-inf`` at the excluded positions along ``dim``."""
    excluded = excluded if dim == 1 else excluded.T
    length = scores.shape[dim]
    inside = (excluded >= 0) & (excluded < length)
    bounds = torch.where(inside, -torch.inf, torch.inf).to(scores.dtype)
    return scores.scatter_reduce(dim, excluded.clamp(0, length - 1), bounds, "amin")


def _tiles(
    queries: int, keys: int, side: int, mirrored: bool
) -> Iterator[tuple[slice, slice, bool]]:
    """Rows and columns of each tile, and whether it also serves as its mirror image."""
    for row in range(0, queries, side):
        for column in range(row if mirrored else 0, keys, side):
            rows = slice(row, min(row + side, queries))
            yield rows, slice(column, min(column + side, keys)), mirrored and column > row
