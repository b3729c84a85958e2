"""What the methods that compare views of a batch share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.losses import check_temperature
from ssl_dml.methods.base import RunInfo
from ssl_dml.types import Views


def embed_views(
    backbone: nn.Module, projector: nn.Module, views: Views
) -> Float[Tensor, "views batch dim"]:
    """Embeddings of every view; those of one size go through the networks together."""
    parts: list[Tensor] = []
    for side in dict.fromkeys(view.shape[-1] for view in views):
        same = [view for view in views if view.shape[-1] == side]
        embeddings = projector(backbone(torch.cat(same)))
        parts.append(embeddings.view(len(same), len(same[0]), -1))
    return torch.cat(parts)


def check_views(views: Views, *, least: int = 2, most: int | None = None) -> None:
    """Refuse a number of views that a method cannot compare.

    Raises:
        ValueError: Naming the key that sets it.
    """
    if len(views) < least or (most is not None and len(views) > most):
        wanted = f"{least}" if most == least else f"{least} or more"
        raise ValueError(
            f"set crops.views to {wanted}: the method compares views, got {len(views)}"
        )


def check_run_info(run_info: RunInfo, *, temperature: float) -> None:
    """Refuse what no contrast within a batch can work with.

    Raises:
        ValueError: If the temperature is not positive, or the batch has one sample.
    """
    check_temperature(temperature)
    if run_info.batch_size < 2:  # noqa: PLR2004
        raise ValueError(
            f"data.batch_size must be at least 2, for a sample to have others; "
            f"got {run_info.batch_size}"
        )
