"""Sums over triples of rows, in the memory of pairs."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Values that a part may hold.
ROOM = 1 << 22

PerPair = Callable[
    [Float[Tensor, "pairs references"], Int[Tensor, " pairs"], Int[Tensor, " pairs"]],
    Float[Tensor, " pairs"],
]


def per_pair(
    matrix: Float[Tensor, "anchors references"],
    anchors: Int[Tensor, " pairs"],
    others: Int[Tensor, " pairs"],
    function: PerPair,
) -> Float[Tensor, " pairs"]:
    """What a function makes of each pair and the whole row of its anchor.

    Pairs times references values are never held at once: the pairs are taken in parts, and the
    gradient of each with respect to the matrix is computed beside its value, so no part is kept.

    Args:
        matrix: Distances or similarities of each anchor.
        anchors: Row of each pair.
        others: What else the function is told of each pair, such as its column.
        function: Given a part's rows of the matrix, its anchors and its others; its values may
            depend on that row of the matrix alone.
    """
    return _PerPair.apply(matrix, anchors, others, function)  # pyright: ignore[reportReturnType]


class _PerPair(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        matrix: Tensor,
        anchors: Tensor,
        others: Tensor,
        function: PerPair,
    ) -> Tensor:
        size = max(1, ROOM // max(1, matrix.shape[1]))
        values = [matrix.new_empty(0)]
        for rows, columns in zip(anchors.split(size), others.split(size), strict=True):
            values.append(function(matrix[rows], rows, columns))
        ctx.save_for_backward(matrix, anchors, others)
        ctx.function, ctx.size = function, size
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        matrix, anchors, others = ctx.saved_tensors
        total = torch.zeros_like(matrix)
        parts = (tensor.split(ctx.size) for tensor in (anchors, others, gradients[0]))
        for rows, columns, weights in zip(*parts, strict=True):
            with torch.enable_grad():
                part = matrix[rows].requires_grad_()
                values = ctx.function(part, rows, columns)
            (slope,) = torch.autograd.grad(values, part, weights)
            total.index_add_(0, rows, slope)
        return total, None, None, None
