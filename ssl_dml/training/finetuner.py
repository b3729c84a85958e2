"""An embedding model with a head on top, which fine-tuning trains."""

from typing import final

import torch
from torch import nn

from ssl_dml.backbones import Embedder
from ssl_dml.heads import Head
from ssl_dml.memory import ddp_ignored_names
from ssl_dml.types import Batch, StepOutput


@final
class Finetuner(nn.Module):
    """Embeds views of labeled samples and hands them to a head.

    Args:
        embedder: Backbone and neck.
        head: The objective.
    """

    def __init__(self, embedder: Embedder, head: Head) -> None:
        super().__init__()
        self.embedder, self.head = embedder, head
        self.frozen = False
        self._trained = [p for p in embedder.backbone.parameters() if p.requires_grad]

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Names that ``DistributedDataParallel`` must leave alone; it reads this attribute."""
        return ddp_ignored_names(self)

    @property
    def shares_gradients(self) -> bool:
        """Whether anything trains whose gradients ``DistributedDataParallel`` must average."""
        own = set(ddp_ignored_names(self))
        return any(p.requires_grad and name not in own for name, p in self.named_parameters())

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

    def freeze(self, frozen: bool) -> None:
        """Freeze or unfreeze the backbone, including its batch statistics."""
        self.frozen = frozen
        for parameter in self._trained:  # what the backbone itself froze stays frozen
            parameter.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Finetuner":
        """Set the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.embedder.backbone.eval()
        return self
