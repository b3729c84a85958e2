"""Shared by the methods that contrast views within a batch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.checks import at_least, positive
from ssl_dml.methods.base import RunInfo
from ssl_dml.types import Views


def embed_views(
    backbone: nn.Module, projector: nn.Module, views: Views
) -> Float[Tensor, "views batch dim"]:
    """Embeddings of every view; views of one size go through the networks together.

    >>> views = [torch.ones(4, 3, 8, 8), torch.ones(4, 3, 8, 8), torch.ones(4, 3, 2, 2)]
    >>> embed_views(nn.AdaptiveAvgPool2d(1), nn.Flatten(), views).shape
    torch.Size([3, 4, 3])
    """
    parts: list[Tensor] = []
    for side in dict.fromkeys(view.shape[-1] for view in views):
        same = [view for view in views if view.shape[-1] == side]
        embeddings = projector(backbone(torch.cat(same)))
        parts.append(embeddings.view(len(same), len(same[0]), -1))
    return torch.cat(parts)


def check_views(views: Views, *, least: int = 2, most: int | None = None) -> None:
    """Raise unless the number of views is from ``least`` to ``most``.

    Raises:
        ValueError: Naming the key that sets it.

    >>> check_views([torch.ones(4, 3, 8, 8)])
    Traceback (most recent call last):
    ValueError: set crops.views to 2 or more: the method compares views, got 1
    """
    if len(views) < least or (most is not None and len(views) > most):
        wanted = f"{least}" if most == least else f"{least} or more"
        raise ValueError(
            f"set crops.views to {wanted}: the method compares views, got {len(views)}"
        )


def check_run_info(run_info: RunInfo, *, temperature: float) -> None:
    """Raise unless the temperature is positive and the batch has 2 samples or more.

    >>> check_run_info(RunInfo(num_instances=9, batch_size=1, num_batches=9), temperature=0.1)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: data.batch_size must be at least 2, got 1
    """
    positive(temperature=temperature)
    at_least(2, "data", batch_size=run_info.batch_size)
