"""Distill the features of a teacher, sample by sample."""

from typing import final

import torch

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.teacher import Teacher
from ssl_dml.precision import unit_rows
from ssl_dml.types import Batch, StepOutput


@final
class FeatureAlignment(Method):
    """Turn the student's projected features towards a frozen teacher's features of the same view.

    The loss is the mean of ``1 - cosine``, from 0 to 2. It needs no negatives, so batches may be
    small.

    Args:
        backbone: The student.
        run_info: Sizes of the run.
        teacher: Folder of a saved backbone, such as ``runs/default/backbone``.
        hidden_dim: Width of the projector; null for the dimension of the features.
        layers: Number of linear layers of the projector.

    References:
        Romero et al., 2015, arXiv:1412.6550, eq. 3, with the cosine as distance.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ssl_dml.backbones import TimmBackbone, save
    >>> from ssl_dml.types import ImageSpec
    >>> args = {"name": "resnet18", "width": 0.125}
    >>> network, student = (TimmBackbone(ImageSpec.imagenet(32), **args) for _ in range(2))
    >>> folder = Path(tempfile.mkdtemp()) / "teacher"
    >>> save(network, folder, "ssl_dml.backbones.TimmBackbone", args, trained={})
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = FeatureAlignment(student, run_info, teacher=str(folder))
    >>> loss, logs = method(Batch([torch.ones(4, 3, 32, 32)], torch.arange(4)))
    >>> 0 < loss < 2
    tensor(True)
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,  # noqa: ARG002 - of the interface
        *,
        teacher: str,
        hidden_dim: int | None = None,
        layers: int = 2,
    ) -> None:
        super().__init__()
        width = backbone.feature_dim
        self.backbone, self.teacher = backbone, Teacher(teacher, backbone.inputs)
        self.projector = mlp(
            width,
            hidden_dim,
            self.teacher.dim,
            layers=layers,
            norm="none",
        )

    def forward(self, batch: Batch) -> StepOutput:
        """Mean loss of this process's views."""
        cosines = [
            (unit_rows(self.projector(self.backbone(view))) * self.teacher(view)).sum(dim=1)
            for view in batch.views
        ]
        return StepOutput(1 - torch.stack(cosines).mean(), {})
