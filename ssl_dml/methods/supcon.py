"""SupCon: SimCLR with labels, where all samples of a class are positives of each other."""

from typing import final

from ssl_dml import losses
from ssl_dml.backbones.base import Backbone
from ssl_dml.checks import positive
from ssl_dml.methods.base import RunInfo
from ssl_dml.methods.views import InBatchContrast, check_run_info, check_views
from ssl_dml.types import Batch, StepOutput


@final
class SupCon(InBatchContrast):
    """Supervised contrastive learning over all views of the batch of all processes.

    The only positives of a sample of unknown class are its own other views.

    Args:
        backbone: The encoder.
        run_info: Its batches must have labels.
        temperature: Softmax temperature, above 0.
        base_temperature: The loss is multiplied by ``temperature / base_temperature``; 0.07 in the
            authors' code, and null for no factor, as in the paper.
        hidden_dim: Width of the projector; null for the dimension of the features.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.

    References:
        Khosla et al., 2020, arXiv:2004.11362.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10, labeled=True)
    >>> method = SupCon(backbone, run_info)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4), torch.tensor([0, 0, 1, 1]))
    >>> round(method(batch).loss.item(), 4)  # embeddings are equal: log(2 * 4 - 1)
    1.9459
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
        check_run_info(run_info, temperature=temperature)
        positive(base_temperature=base_temperature)
        if not run_info.labeled:
            raise ValueError(
                "SupCon needs labels and the data have none: give them by sub-folders or by "
                "data.label_column, or choose a method without labels, such as SimCLR"
            )
        loss = losses.SupCon(
            temperature=temperature, base_temperature=base_temperature, tile_size="auto"
        )
        super().__init__(backbone, loss, hidden_dim, output_dim, layers)

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's views against all views."""
        check_views(batch.views, least=1)
        if batch.labels is None:
            raise ValueError("SupCon needs labels, and the batch has none")
        return self.contrast(batch.views, batch.labels)
