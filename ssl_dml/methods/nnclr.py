"""NNCLR: the positive is the nearest neighbor in a queue of earlier embeddings."""

from typing import final

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.distributed import gather, world_size
from ssl_dml.losses import InBatchInfoNCE
from ssl_dml.memory import Queue
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.views import (
    check_queue,
    check_run_info,
    check_views,
    contrast_crosswise,
    information,
)
from ssl_dml.precision import unit_rows
from ssl_dml.types import Batch, StepOutput


@final
class NNCLR(Method):
    """Nearest-neighbor contrast within the batch of all processes, in both directions.

    Args:
        backbone: The encoder.
        run_info: Its batch must have 2 samples or more.
        queue_size: Number of earlier embeddings to search for neighbors, at least a batch; 98,304
            in the paper.
        temperature: Softmax temperature, above 0.
        hidden_dim: Width of the projector; null for the dimension of the features.
        predictor_dim: Width of the predictor.
        output_dim: Dimension of an embedding.

    References:
        Dwibedi et al., 2021, arXiv:2104.14548.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = NNCLR(backbone, run_info, queue_size=8, predictor_dim=16)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # predictions are equal: log(4)
    1.3863
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        queue_size: int = 98304,
        temperature: float = 0.1,
        hidden_dim: int | None = None,
        predictor_dim: int = 4096,
        output_dim: int = 256,
    ) -> None:
        super().__init__()
        check_run_info(run_info, temperature=temperature)
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, hidden_dim, output_dim, layers=3, norm="all")
        self.predictor = mlp(output_dim, predictor_dim, output_dim, layers=2)
        check_queue(run_info, queue_size)
        self.queue = Queue(queue_size, output_dim, batch_size=run_info.batch_size)
        self.loss = InBatchInfoNCE(temperature=temperature, tile_size="auto")

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's neighbors against the predictions of the whole batch."""
        views = batch.views
        check_views(views, most=2)
        projected = [self.projector(self.backbone(view)) for view in views]
        predicted = [self.predictor(rows) for rows in projected]
        rows = [unit_rows(found.detach()) for found in projected]
        neighbors = [self.queue.nearest(found) for found in rows]
        losses = contrast_crosswise(neighbors, predicted, self.loss)
        similarity = (rows[0] * neighbors[0]).sum(dim=1).mean()
        self.queue.enqueue(gather(rows[0]))
        logs = {"neighbor_similarity": similarity}
        logs |= information(losses.mean(), len(views[0]) * world_size())
        return StepOutput(losses.mean(), logs)
