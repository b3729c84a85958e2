"""SimCLR: contrast the views of a sample with those of all other samples in the batch."""

from typing import final

from torch import Tensor

from ssl_dml import losses
from ssl_dml.backbones.base import Backbone
from ssl_dml.methods.base import RunInfo
from ssl_dml.methods.views import InBatchContrast, candidates_of, check_run_info, information
from ssl_dml.types import StepOutput, Views


@final
class SimCLR(InBatchContrast):
    """NT-Xent over all views of the batch of all processes.

    With two views this is the loss of the paper. With more, each view has several positives, and
    the loss is averaged over them. Views of different sizes (multi-crop) are encoded separately.

    Args:
        backbone: The encoder.
        run_info: Its batch must have 2 samples or more.
        temperature: Softmax temperature, above 0.
        hidden_dim: Width of the projector; null for the dimension of the features.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.

    References:
        Chen et al., 2020, arXiv:2002.05709.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import Batch, ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = SimCLR(backbone, run_info)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # embeddings are equal: log(2 * 4 - 1)
    1.9459
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
        check_run_info(run_info, temperature=temperature)
        loss = losses.MultiViewNTXent(temperature=temperature, tile_size="auto")
        super().__init__(backbone, loss, hidden_dim, output_dim, layers)

    def contrast(self, views: Views, *more: Tensor) -> StepOutput:
        """Embed the views and compute the loss; of several positives a view finds one at a time."""
        loss, logs = super().contrast(views, *more)
        return StepOutput(loss, {**logs, **information(loss, candidates_of(views))})
