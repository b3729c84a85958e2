"""The contract of supervised heads."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from ssl_dml.types import ContinuousLabels, Embeddings, Labels, StepOutput


class Head(nn.Module, ABC):
    """A supervised objective on embeddings; built by ``(embedding_dim, num_classes, *, ...)``.

    Attributes:
        continuous: Whether labels are numbers, ``[batch, values]``, instead of classes.
    """

    continuous: bool = False

    @abstractmethod
    def forward(self, embeddings: Embeddings, labels: Labels | ContinuousLabels) -> StepOutput:
        """One step on this process's part of the batch.

        Args:
            embeddings: Rows as the network makes them, of any length.
            labels: Class of each, from 0, or its numbers.
        """


def check_labels(labels: Labels, num_classes: int | None) -> None:
    """Refuse labels that are missing or of no class.

    Args:
        labels: Class of each row.
        num_classes: Labels are below it; None where any number from 0 will do.

    Raises:
        ValueError: If one is not.
    """
    if len(labels) == 0:
        return
    low, high = torch.stack(labels.aminmax()).tolist()  # waits for an accelerator once
    allowed = "at least 0" if num_classes is None else f"from 0 to {num_classes - 1}"
    if low < 0:
        raise ValueError(f"labels must be {allowed}, got {low}: leave out samples without a label")
    if num_classes is not None and high >= num_classes:
        raise ValueError(
            f"labels must be {allowed}, got {high}: the head has {num_classes} classes"
        )
