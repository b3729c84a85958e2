"""timm's own conversion of weights, without what it leaves random."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor

Tensors = dict[str, Tensor]


def converted(weights: Tensors, arguments: dict[str, Any]) -> Tensors:
    """Let timm convert the weights; leave out what it leaves random.

    timm does not say which tensors those are. It therefore converts the file once more with every
    value NaN, and what becomes NaN comes from the file.

    Args:
        weights: Tensors of a file, by name.
        arguments: Arguments that timm builds the network with.

    Returns:
        Tensors of the network that come from the file; none if timm cannot convert it.

    Examples:
        >>> network = timm.create_model("test_resnet", num_classes=0)
        >>> found = converted(network.state_dict(), {"model_name": "test_resnet", "num_classes": 0})
        >>> len(found) == sum(v.is_floating_point() for v in network.state_dict().values())
        True
    """
    marks = {
        name: torch.full_like(value, torch.nan) if value.is_floating_point() else value
        for name, value in weights.items()
    }
    try:
        with silent(), torch.random.fork_rng(devices=[]):
            values, marked = (_loaded(given, arguments) for given in (weights, marks))
    except Exception:  # timm and torch raise many kinds, of which none names the file
        return {}
    return {name: value for name, value in values.items() if marked[name].isnan().any()}


def with_channels(kernel: Tensor, own: Tensor, channels: int) -> Tensor:
    """The kernel of a first convolution for other channels, as timm adapts it.

    Args:
        kernel: The one of the file.
        own: The one of the network; unless they differ by channels alone, ``kernel`` is returned.
        channels: Those of the images. A network whose first convolution sees others, because its
            pixels are regrouped before, is left to :func:`converted`.

    Examples:
        >>> three = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
        >>> with_channels(three, torch.zeros(1, 1, 1, 1), 1).flatten().tolist()
        [6.0]
        >>> with_channels(three, torch.zeros(1, 4, 1, 1), 4).flatten().tolist()
        [0.75, 1.5, 2.25, 0.75]
    """
    if kernel.ndim != own.ndim or kernel.shape[1] == own.shape[1] or own.shape[1] != channels:
        return kernel
    if kernel.shape[:1] + kernel.shape[2:] != own.shape[:1] + own.shape[2:]:
        return kernel
    return adapt_input_conv(channels, kernel, base_chans=kernel.shape[1])


def _loaded(weights: Tensors, arguments: dict[str, Any]) -> Tensors:
    # Without these timm may download the network's own weights.
    source = {"state_dict": weights, "file": None, "url": None, "hf_hub_id": None}
    network = timm.create_model(**arguments, pretrained=True, pretrained_cfg_overlay=source)
    return network.state_dict()


@contextmanager
def silent() -> Iterator[None]:
    """Hide timm's warnings about tensors it does not load; here those are an error."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
