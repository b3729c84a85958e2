"""SimCLR: tell the views of a sample from those of all others in the batch."""

from typing import final

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.distributed import process_group
from ssl_dml.losses import TILE, multi_view_nt_xent
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.views import check_run_info, check_views, embed_views
from ssl_dml.types import Batch, StepOutput


@final
class SimCLR(Method):
    """NT-Xent over all views of the batch of all processes.

    With two views this is the loss of the paper; with more, each view has several positives and
    the logarithms are averaged over them. Views of other sizes (multi-crop) are encoded apart.

    Args:
        backbone: The encoder.
        run_info: Its batch must have two samples or more.
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
        run_info: RunInfo,
        *,
        temperature: float = 0.1,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__()
        check_run_info(run_info, temperature=temperature)
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, hidden_dim or width, output_dim, layers=layers)
        self.temperature = temperature

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's views against all views."""
        views = batch.views
        check_views(views)
        embeddings = embed_views(self.backbone, self.projector, views)
        loss = multi_view_nt_xent(
            embeddings, temperature=self.temperature, tile_size=TILE, group=process_group()
        )
        return StepOutput(loss, {})
