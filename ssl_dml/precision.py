"""Compute losses in float32 or better, also within autocast."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

P = ParamSpec("P")


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorator: switch autocast off and convert half-precision arguments to float32."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        first = next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        wide = {id(value): _widen(value) for value in (*args, *kwargs.values())}  # once each
        with torch.autocast(first.device.type, enabled=False):
            named: Any = {name: wide[id(value)] for name, value in kwargs.items()}
            return function(*(wide[id(value)] for value in args), **named)  # pyright: ignore[reportCallIssue]

    return wrapped


def _widen(value: Any) -> Any:  # noqa: ANN401 - passes anything through
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


@full_precision
def unit_rows(rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Scale rows to length 1, in float32 or better; a zero row stays zero.

    Examples:
        >>> import torch
        >>> from ssl_dml.precision import unit_rows
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return F.normalize(rows, dim=1)
