"""Sums over all similarities of many rows, without the matrix of them."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.types import ALONE, Peers

# Fits the cache of a processor and fills an accelerator.
TILE = 1024


def log_sum_exp(
    queries: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "keys dim"],
    *,
    scale: float,
    excluded: Int[Tensor, "batch left_out"] | None = None,
    tile_size: int | None = None,
    peers: Peers = ALONE,
) -> Float[Tensor, " batch"]:
    r"""For each query the logarithm of a sum over the keys of all processes.

    .. math:: \log \sum_{j \notin \mathrm{excluded}_i} e^{\mathrm{scale} \; q_i \cdot k_j}

    Tiles of the similarity matrix are made, summed and forgotten, and made again in backward, so
    memory grows with ``tile_size`` squared and never with ``batch * keys``. The keys of other
    processes are seen in turn as they go round a ring; their gradients go round with them.

    Args:
        queries: Rows of this process.
        keys: Rows of this process that others see too.
        scale: Inverse temperature; at 0 the result is the logarithm of the number of keys.
        excluded: Keys that a query leaves out, numbered over all processes in order of rank.
        tile_size: Side of a tile; None makes one tile of everything.
        peers: The processes.

    Returns:
        Nats; ``-inf`` where no key is left.
    """
    if tile_size is not None and tile_size < 1:
        raise ValueError(f"tile_size must be at least 1 or None, got {tile_size}")
    if excluded is None:
        excluded = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
    side = max(tile_size or max(len(queries), len(keys)), 1)
    return _LogSumExp.apply(queries, keys, excluded, scale, side, peers)  # pyright: ignore[reportReturnType]


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        queries: Tensor,
        keys: Tensor,
        excluded: Tensor,
        scale: float,
        side: int,
        peers: Peers,
    ) -> Tensor:
        found = queries.new_full((len(queries),), -torch.inf)
        block = keys
        for turn in range(peers.count):
            first = (peers.rank - turn) % peers.count * len(keys)
            for rows in _tiles(len(queries), side):
                parts = [found[rows]]
                for columns in _tiles(len(keys), side):
                    places = excluded[rows] - (first + columns.start)
                    parts.append(_scores(queries[rows], block[columns], places, scale).logsumexp(1))
                found[rows] = torch.stack(parts).logsumexp(0)
            (block,) = peers.rotate(block)
        ctx.save_for_backward(queries, keys, excluded, found)
        ctx.scale, ctx.side, ctx.peers = scale, side, peers
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        with torch.autocast(gradients[0].device.type, enabled=False):
            return _LogSumExp._backward(ctx, gradients[0])

    @staticmethod
    def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        queries, keys, excluded, found = ctx.saved_tensors
        weights = (gradient * ctx.scale)[:, None]
        # A row without a key has no gradient, and -inf - -inf would make one of NaN.
        found = found.masked_fill(found == -torch.inf, 0.0)[:, None]
        for_queries, for_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        block = keys
        wanted = ctx.needs_input_grad[1]
        for turn in range(ctx.peers.count):
            first = (ctx.peers.rank - turn) % ctx.peers.count * len(keys)
            for rows in _tiles(len(queries), ctx.side):
                for columns in _tiles(len(keys), ctx.side):
                    places = excluded[rows] - (first + columns.start)
                    share = _scores(queries[rows], block[columns], places, ctx.scale)
                    share.sub_(found[rows]).exp_().mul_(weights[rows])
                    for_queries[rows].addmm_(share, block[columns])
                    if wanted:
                        for_keys[columns].addmm_(share.T, queries[rows])
            block, for_keys = ctx.peers.rotate(block, for_keys)
        return for_queries, for_keys if wanted else None, None, None, None, None


def _scores(queries: Tensor, keys: Tensor, places: Tensor, scale: float) -> Tensor:
    """Scaled similarities of a tile, with ``-inf`` at the places that lie in it."""
    scores = (queries @ keys.T).mul_(scale)
    inside = (places >= 0) & (places < len(keys))
    worth = torch.where(inside, -torch.inf, torch.inf).to(scores.dtype)
    return scores.scatter_reduce_(1, places.clamp(0, len(keys) - 1), worth, "amin")


def _tiles(length: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]
