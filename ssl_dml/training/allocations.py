"""Refuse a network that does not fit in memory before its memory is asked for."""

import math
from collections.abc import Iterator
from typing import Any, final

import psutil
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_dml.data.budget import free_memory
from ssl_dml.types import ConfigError

LEAST = 1 << 26  # bytes from which a tensor is compared with what is free
NEW = ("empty", "empty_strided", "zeros", "ones", "full", "rand", "randn", "eye")


@final
class Allocations(TorchDispatchMode):
    """Within it, a new tensor that is larger than the free memory is a mistake in one line.

    >>> with Allocations({"method": {"init_args": {"queue_size": 10**13}}}):
    ...     torch.zeros(10**13, 128)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: method.init_args.queue_size 10000000000000 needs a tensor of \
[10000000000000, 128], 5,120,000.0 GB, and ... GB of memory are free: lower it

    Args:
        values: The configuration, in which the key is looked for that says the size.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values

    def __torch_dispatch__(  # noqa: ANN204 - called by torch
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ):
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in NEW and kwargs.get("device") != torch.device("meta"):
            self._check(args, kwargs.get("dtype") or torch.get_default_dtype())
        return func(*args, **kwargs)

    def _check(self, args: Any, dtype: torch.dtype) -> None:  # noqa: ANN401
        shape = args[0] if isinstance(args[0], (list, tuple)) else args[:2]
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST or size <= (free := psutil.virtual_memory().available):
            return
        given = next((found for n in sorted(shape)[::-1] for found in keys_of(self.values, n)), "")
        raise ConfigError(
            f"{given or 'the network'} needs a tensor of {list(shape)}, {size / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB of memory are free: lower {'it' if given else 'its sizes'}"
        )


def keys_of(values: Any, size: int, prefix: str = "") -> Iterator[str]:  # noqa: ANN401
    """Keys of a configuration that hold a number, with it.

    >>> list(keys_of({"a": {"b": 7, "c": [1, 7]}}, 7))
    ['a.b 7']
    """
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            yield from keys_of(value, size, f"{prefix}{key}.")
        elif value == size and isinstance(value, int):
            yield f"{prefix}{key} {value}"


def refuse_large(model: nn.Module) -> None:
    """Raise if the weights of a network and their gradients are more than is free.

    Raises:
        ConfigError: With the numbers.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    if trained > (free := free_memory()):
        raise ConfigError(
            f"the network has weights of {trained / 1e9:,.1f} GB and needs as much for gradients, "
            f"and {free / 1e9:,.1f} GB of memory are free: lower the sizes of backbone, method or "
            "head"
        )
