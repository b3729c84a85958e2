"""MoCo v3: a momentum encoder and a predictor, contrasted within the batch, without a queue."""

import math
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.checks import in_range
from ssl_dml.distributed import world_size
from ssl_dml.losses import InBatchInfoNCE
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.momentum import follow, follower
from ssl_dml.methods.views import (
    check_run_info,
    check_views,
    contrast_crosswise,
    information,
)
from ssl_dml.types import Batch, StepOutput


@final
class MoCoV3(Method):
    """Contrast of predicted queries with keys of a momentum encoder within the batch.

    The loss is ``2 temperature`` times the sum over both directions, as in the paper and its code.
    The patch embedding of a vision transformer is frozen at its random weights, which makes
    training stable according to the paper. ResNets have no patch embedding.

    Args:
        backbone: The encoder.
        run_info: Its number of batches is the length of the momentum schedule.
        momentum: Fraction of its weights that the momentum encoder keeps in the first step, in
            [0, 1]; it rises to 1 along a cosine.
        temperature: Softmax temperature, above 0; 0.2 for transformers and 1.0 for ResNets.
        hidden_dim: Width of projector and predictor.
        output_dim: Dimension of an embedding.
        layers: Linear layers of the projector; 3 for transformers and 2 for ResNets.
        train_patch_embedding: Train the patch embedding instead of freezing it.

    References:
        Chen et al., 2021, arXiv:2104.02057.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = MoCoV3(backbone, run_info, hidden_dim=16)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # keys are equal: 4 * 0.2 * log(4)
    1.109
    """

    batch: Tensor

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        momentum: float = 0.99,
        temperature: float = 0.2,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        layers: int = 3,
        train_patch_embedding: bool = False,
    ) -> None:
        super().__init__()
        check_run_info(run_info, temperature=temperature)
        in_range(0, 1, momentum=momentum)
        self.backbone = backbone
        if not train_patch_embedding:
            for name, parameter in backbone.named_parameters():
                if "patch_embed." in name:
                    parameter.requires_grad_(False)
        width = backbone.feature_dim
        self.projector = mlp(width, hidden_dim, output_dim, layers=layers, norm="all")
        self.predictor = mlp(output_dim, hidden_dim, output_dim, layers=2, norm="all")
        self.key_backbone, self.key_projector = follower(self.backbone), follower(self.projector)
        self.momentum, self.temperature = momentum, temperature
        self.loss = InBatchInfoNCE(temperature=temperature, tile_size="auto")
        self.num_batches = run_info.num_batches
        self.register_buffer("batch", torch.zeros((), dtype=torch.long))

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's queries against the keys of the whole batch."""
        views = batch.views
        check_views(views, most=2)
        momentum = self.momentum_at(self.batch)
        follow(self.key_backbone, self.backbone, momentum)
        follow(self.key_projector, self.projector, momentum)
        queries = [self.predictor(self.projector(self.backbone(view))) for view in views]
        with torch.no_grad():
            keys = [self.key_projector(self.key_backbone(view)) for view in views]
        losses = contrast_crosswise(queries, keys, self.loss)
        self.batch += 1
        logs = {"momentum": momentum}
        logs |= information(losses.mean(), len(views[0]) * world_size())
        return StepOutput(2 * self.temperature * losses.sum(), logs)

    def momentum_at(self, batch: Int[Tensor, ""]) -> Float[Tensor, ""]:
        """``momentum`` at batch 0, 1 at the end of the run."""
        passed = (batch / self.num_batches).clamp(max=1)
        return 1 - (1 - self.momentum) * (1 + (math.pi * passed).cos()) / 2
