"""From a loader's stored samples to the batches that a method or a fine-tuner takes."""

from collections.abc import Iterable, Iterator
from inspect import signature

import torch
from torch import Tensor, nn

from ssl_dml.progress import say
from ssl_dml.training.ahead import on_device
from ssl_dml.types import Aspects, Batch, ContinuousLabels, Labels


def batches(
    loader: Iterable[tuple[Tensor, Tensor]],
    augment: nn.Module,
    device: torch.device,
    labels: Labels | ContinuousLabels | None = None,
    aspects: Aspects | None = None,
) -> Iterator[Batch]:
    """Views, indices and labels of every batch, made on the device.

    Args:
        loader: Stored samples and their indices.
        augment: Makes views.
        device: Where they are wanted.
        labels: Label of each sample of the data set, if there are labels.
        aspects: By what factor each image was wider than it is stored, if any was. An augmentation
            that takes samples alone sees them squashed.
    """
    labels = None if labels is None else labels.to(device)
    if aspects is not None and len(signature(augment.forward).parameters) == 1:
        say(
            f"{type(augment).__name__} sees images squashed to one shape: its forward takes "
            "samples alone, not samples and aspects"
        )
        aspects = None
    # On the host, where views are drawn.
    parts = loader if aspects is None else ((s, i, aspects[i]) for s, i in loader)
    for samples, indices, *wide in on_device(parts, device):
        views = augment(samples, *wide)
        yield Batch(views, indices, None if labels is None else labels[indices])
