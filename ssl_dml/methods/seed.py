"""SEED: distill a teacher's similarities to a queue into a student."""

from typing import final

import torch

from ssl_dml import losses
from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.checks import positive
from ssl_dml.distributed import gather
from ssl_dml.memory import Queue
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.teacher import Teacher
from ssl_dml.methods.views import check_queue
from ssl_dml.types import Batch, StepOutput


@final
class SEED(Method):
    """Self-supervised distillation: a small network learns from a frozen one, without labels.

    Teacher and student see the same view. The student learns how similar the teacher finds it to
    each key of a queue, which then receives the teacher's embeddings of the first view.

    Args:
        backbone: The student.
        run_info: The queue must hold at least its batch.
        teacher: Folder of a saved backbone, such as ``runs/default/backbone``.
        queue_size: Number of the teacher's embeddings, 65,536 in the paper.
        temperature: Softmax temperature of the student, above 0.
        teacher_temperature: That of the teacher, above 0.
        hidden_dim: Width of the projector; null for the dimension of the features.

    References:
        Fang et al., 2021, arXiv:2101.04731.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ssl_dml.backbones import TimmBackbone, save
    >>> from ssl_dml.types import ImageSpec
    >>> args = {"name": "resnet18", "width": 0.125}
    >>> network, student = (TimmBackbone(ImageSpec.imagenet(32), **args) for _ in range(2))
    >>> folder = Path(tempfile.mkdtemp()) / "teacher"
    >>> save(network, folder, "ssl_dml.backbones.TimmBackbone", args, trained={})
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = SEED(student, run_info, teacher=str(folder), queue_size=8)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)], torch.arange(4))
    >>> for _ in range(3):  # the first two steps fill the queue
    ...     loss = method(batch).loss
    >>> round(loss.item(), 4)  # all keys are equal: log(1 + 8)
    2.1972
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        teacher: str,
        queue_size: int = 65536,
        temperature: float = 0.2,
        teacher_temperature: float = 0.01,
        hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        positive(temperature=temperature, teacher_temperature=teacher_temperature)
        width = backbone.feature_dim
        self.backbone, self.teacher = backbone, Teacher(teacher, backbone.inputs)
        self.projector = mlp(width, hidden_dim, self.teacher.dim, norm="none")
        check_queue(run_info, queue_size)
        self.queue = Queue(queue_size, self.teacher.dim, batch_size=run_info.batch_size)
        self.loss = losses.SEED(
            temperature=temperature, teacher_temperature=teacher_temperature, tile_size="auto"
        )

    def forward(self, batch: Batch) -> StepOutput:
        """Mean loss of this process's views; then the queue receives keys of all processes."""
        taught = [self.teacher(view) for view in batch.views]
        keys = self.queue.keys.clone()  # what is enqueued below must not reach backward
        found = [
            self.loss(self.projector(self.backbone(view)), wanted, keys)
            for view, wanted in zip(batch.views, taught, strict=True)
        ]
        self.queue.enqueue(gather(taught[0]))
        return StepOutput(torch.stack(found).mean(), {})
