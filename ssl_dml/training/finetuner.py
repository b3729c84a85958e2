"""An embedding model with a head on top, which fine-tuning trains."""

from typing import final

import torch
from torch import nn

from ssl_dml.backbones import Embedder
from ssl_dml.heads import Head
from ssl_dml.training.freezable import Freezable
from ssl_dml.types import Batch, StepOutput


@final
class Finetuner(Freezable):
    """Embeds views of labeled samples and hands them to a head.

    Args:
        embedder: Backbone and neck.
        head: The objective.
    """

    def __init__(self, embedder: Embedder, head: Head) -> None:
        super().__init__()
        self.embedder, self.head = embedder, head

    @property
    def encoders(self) -> list[nn.Module]:
        """The backbone."""
        return [self.embedder.backbone]

    def forward(self, batch: Batch) -> StepOutput:
        """One step on this process's part of the batch.

        Args:
            batch: Views, and the label of each sample, which all views of it have.

        Raises:
            ValueError: If the batch has no labels.
        """
        views, _, labels = batch
        if labels is None:
            raise ValueError("fine-tuning needs labels, and the batch has none")
        # Views of a sample stay together, so that the order is the same on any number of processes.
        embeddings = torch.stack([self.embedder(view) for view in views], dim=1).flatten(0, 1)
        return self.head(embeddings, labels.repeat_interleave(len(views), dim=0))
