"""The contract of supervised heads."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from ssl_dml.types import ContinuousLabels, Embeddings, Labels, StepOutput


class Head(nn.Module, ABC):
    """A supervised objective on embeddings.

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of classes. Heads that compare embeddings with each other do without.

    Attributes:
        continuous: Whether labels are continuous, ``[batch, values]``, instead of classes.
    """

    continuous: bool = False

    def __init__(self, embedding_dim: int, num_classes: int) -> None:
        super().__init__()
        self.embedding_dim, self.num_classes = embedding_dim, num_classes

    @abstractmethod
    def forward(self, embeddings: Embeddings, labels: Labels | ContinuousLabels) -> StepOutput:
        """Compute the loss of one step on this process's part of the batch.

        Args:
            embeddings: Embeddings as the network makes them, of any length.
            labels: Class of each, from 0, or its continuous labels.
        """


def check_labels(labels: Labels, num_classes: int | None) -> None:
    """Raise if a label is missing or not one of the classes.

    Args:
        labels: Class of each row.
        num_classes: Labels must be below it; None allows any label from 0.

    Raises:
        ValueError: Naming a label that is out of range.
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
