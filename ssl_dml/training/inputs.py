"""From a loader's bytes to the views a method takes."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ssl_dml.types import ContinuousLabels, Labels, Views


def view_batches(
    loader: Iterable[tuple[Tensor, Tensor]], augment: nn.Module, device: torch.device
) -> Iterator[tuple[Views, Tensor]]:
    """Views and indices of every batch, made on the device."""
    for pixels, indices in loader:
        yield augment(pixels.to(device, non_blocking=True)), indices.to(device, non_blocking=True)


def labeled_batches(
    loader: Iterable[tuple[Tensor, Tensor]],
    augment: nn.Module,
    labels: Labels | ContinuousLabels,
    device: torch.device,
) -> Iterator[tuple[tuple[Views, Labels | ContinuousLabels], Tensor]]:
    """Views with the label of each sample, and indices, of every batch.

    Args:
        loader: Samples and their indices.
        augment: Makes views.
        labels: Class of each sample of the data set, or its numbers.
        device: Where they are wanted.
    """
    labels = labels.to(device)
    for views, indices in view_batches(loader, augment, device):
        yield (views, labels[indices]), indices
