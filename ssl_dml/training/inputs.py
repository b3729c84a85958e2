"""From a loader's bytes to the views a method takes."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ssl_dml.types import Views


def view_batches(
    loader: Iterable[tuple[Tensor, Tensor]], augment: nn.Module, device: torch.device
) -> Iterator[tuple[Views, Tensor]]:
    """Views and indices of every batch, made on the device."""
    for pixels, indices in loader:
        yield augment(pixels.to(device, non_blocking=True)), indices.to(device, non_blocking=True)
