"""SupCon: SimCLR where all samples of a class are each other's positives."""

from typing import final

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.distributed import process_group
from ssl_dml.losses import TILE, supcon
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.views import check_run_info, check_views, embed_views
from ssl_dml.types import Batch, StepOutput


@final
class SupCon(Method):
    """Supervised contrast over all views of the batch of all processes.

    Samples whose class is not known have only their own other views as positives.

    Args:
        backbone: The encoder.
        run_info: It must have labels.
        temperature: Softmax temperature, above 0.
        base_temperature: The authors' code multiplies the loss by ``temperature`` over this, 0.07;
            null leaves that out, as the paper does.
        hidden_dim: Width of the projector; None for that of the features.
        output_dim: Dimension of an embedding.
        layers: Linear layers of the projector.

    References:
        Khosla et al., 2020, arXiv:2004.11362.
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        temperature: float = 0.1,
        base_temperature: float | None = None,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__()
        check_run_info(run_info, temperature=temperature)
        if not run_info.labeled:
            raise ValueError(
                "SupCon needs labels and the data have none: give them by sub-folders or by "
                "data.label_column, or choose a method without labels, such as SimCLR"
            )
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, hidden_dim or width, output_dim, layers=layers)
        self.temperature, self.base_temperature = temperature, base_temperature

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's views against all views."""
        views, _, labels = batch
        check_views(views, least=1)
        if labels is None:
            raise ValueError("SupCon needs labels, and the batch has none")
        loss = supcon(
            embed_views(self.backbone, self.projector, views),
            labels,
            temperature=self.temperature,
            base_temperature=self.base_temperature,
            tile_size=TILE,
            group=process_group(),
        )
        return StepOutput(loss, {})
