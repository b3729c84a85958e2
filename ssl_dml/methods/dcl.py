"""DCL and DCLW: SimCLR without the positive in the denominator."""

from typing import final

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.distributed import process_group
from ssl_dml.losses import dcl
from ssl_dml.losses.tiles import TILE
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.views import check_run_info, check_views, embed_views
from ssl_dml.types import Batch, StepOutput


@final
class DCL(Method):
    """Decoupled contrastive learning over all views of the batch of all processes.

    Args:
        backbone: The encoder.
        run_info: Its batch must have 2 samples or more.
        temperature: Softmax temperature, above 0.
        weight_sigma: Sigma of the weights of DCLW, 0.5 in the paper; null for DCL.
        hidden_dim: Width of the projector; null for the dimension of the features.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.

    References:
        Yeh et al., 2022, arXiv:2110.06848.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = DCL(backbone, run_info)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # embeddings are equal: log(2 * 4 - 2)
    1.7918
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        temperature: float = 0.1,
        weight_sigma: float | None = None,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__()
        check_run_info(run_info, temperature=temperature)
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, hidden_dim or width, output_dim, layers=layers)
        self.temperature, self.weight_sigma = temperature, weight_sigma

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's views against those of all other samples."""
        views = batch.views
        check_views(views)
        loss = dcl(
            embed_views(self.backbone, self.projector, views),
            temperature=self.temperature,
            weight_sigma=self.weight_sigma,
            tile_size=TILE,
            group=process_group(),
        )
        return StepOutput(loss, {})
