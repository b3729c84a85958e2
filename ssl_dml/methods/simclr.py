"""SimCLR: tell the views of a sample from those of all others in the batch."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.distributed import gather_with_gradient, rank, world_size
from ssl_dml.losses import info_nce_among
from ssl_dml.methods.base import Method, Task
from ssl_dml.types import Indices, StepOutput, Views


@final
class SimCLR(Method):
    """NT-Xent over all views of the batch of all processes.

    With two views this is the loss of the paper; with more, each view has several positives and
    the logarithms are averaged over them. Views of other sizes (multi-crop) are encoded apart.

    Args:
        backbone: The encoder.
        task: Not used; every method is built with it.
        temperature: Softmax temperature, above 0.
        hidden_dim: Width of the projector; None for that of the features.
        output_dim: Dimension of an embedding.
        layers: Linear layers of the projector.

    References:
        Chen et al., 2020, arXiv:2002.05709.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,  # noqa: ARG002 - the contract of methods
        *,
        temperature: float = 0.1,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, hidden_dim or width, output_dim, layers=layers)
        self.temperature = temperature

    def forward(self, views: Views, indices: Indices) -> StepOutput:
        """Loss of this process's views against all views."""
        if len(views) < 2:  # noqa: PLR2004
            raise ValueError("SimCLR compares views: set crops.views to 2 or more")
        own = self.encode(views)
        keys = gather_with_gradient(own.transpose(0, 1)).transpose(0, 1).flatten(0, 1)
        count, batch = len(views), len(indices)
        total = batch * world_size()
        rows = torch.arange(batch, device=indices.device) + rank() * batch
        places = rows + total * torch.arange(count, device=indices.device)[:, None]
        positives = torch.stack(
            [places[[u for u in range(count) if u != v]].T for v in range(count)]
        )
        loss = info_nce_among(
            own.flatten(0, 1),
            keys,
            itself=places.flatten(),
            positives=positives.flatten(0, 1),
            temperature=self.temperature,
        )
        return StepOutput(loss, {})

    def encode(self, views: Views) -> Float[Tensor, "views batch dim"]:
        """Embeddings of every view; those of one size go through the networks together."""
        parts: list[Tensor] = []
        for side in dict.fromkeys(view.shape[-1] for view in views):
            same = [view for view in views if view.shape[-1] == side]
            features = self.backbone(torch.cat(same))
            parts.append(self.projector(features).view(len(same), len(same[0]), -1))
        return torch.cat(parts)
