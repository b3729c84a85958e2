"""Shared by the methods that contrast views within a batch."""

import math
from abc import ABC
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.checks import at_least, positive
from ssl_dml.distributed import process_group, world_size
from ssl_dml.losses import Loss
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.progress import say
from ssl_dml.types import Batch, Embeddings, StepOutput, Views


class InBatchContrast(Method, ABC):
    """Contrasts all views of the batch of all processes with each other, after a projector.

    Args:
        backbone: The encoder.
        loss: Takes all embeddings, by view, and a group of processes.
        hidden_dim: Width of the projector; None for the dimension of the features.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.
    """

    def __init__(
        self, backbone: Backbone, loss: Loss, hidden_dim: int | None, output_dim: int, layers: int
    ) -> None:
        super().__init__()
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, hidden_dim, output_dim, layers=layers)
        self.loss = loss

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's views against all views."""
        check_views(batch.views)
        return self.contrast(batch.views)

    def contrast(self, views: Views, *more: Tensor) -> StepOutput:
        """Embed the views and compute the loss, of which ``more`` are further arguments."""
        embeddings = embed_views(self.backbone, self.projector, views)
        return StepOutput(self.loss(embeddings, *more, group=process_group()), {})


def information(loss: Float[Tensor, ""], *candidates: int) -> dict[str, Float[Tensor, ""]]:
    r"""To log: the bound of InfoNCE on the mutual information of two views, and its limit, in nats.

    A loss L among N candidates, of which one is the positive, shows that they share
    :math:`\log N - L` or more; it cannot show more than :math:`\log N`, however much it is.

    Args:
        loss: Mean InfoNCE.
        *candidates: N, the positive among them; of a mean of several losses, that of each.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, sec. 2.3; Poole et al., 2019,
        arXiv:1905.06922.

    >>> information(torch.tensor(0.0), 512)["mutual_information"]
    tensor(6.2383)
    """
    limit = sum(map(math.log, candidates)) / len(candidates)
    bound = limit - loss.detach()
    return {"mutual_information": bound, "mutual_information_limit": torch.full_like(bound, limit)}


def candidates_of(views: Views) -> int:
    """Among how many views of the batch of all processes each one finds its positive.

    >>> candidates_of([torch.ones(4, 3, 8, 8)] * 2)  # the 6 of other samples, and its own
    7
    """
    return len(views) * (len(views[0]) * world_size() - 1) + 1


def contrast_crosswise(
    queries: Sequence[Embeddings], keys: Sequence[Embeddings], loss: nn.Module
) -> Float[Tensor, " views"]:
    """InfoNCE of the queries of each of two views against the other view's keys in the batch."""
    group = process_group()
    pairs = zip(queries, reversed(keys), strict=True)
    return torch.stack([loss(query, key, group=group) for query, key in pairs])


def embed_views(
    backbone: nn.Module, projector: nn.Module, views: Views
) -> Float[Tensor, "views batch dim"]:
    """Embeddings of every view; views of one size go through the networks together.

    >>> views = [torch.ones(4, 3, 8, 8), torch.ones(4, 3, 8, 8), torch.ones(4, 3, 2, 2)]
    >>> embed_views(nn.AdaptiveAvgPool2d(1), nn.Flatten(), views).shape
    torch.Size([3, 4, 3])
    """
    parts: list[Tensor] = []
    for shape in dict.fromkeys(view.shape for view in views):
        same = [view for view in views if view.shape == shape]
        embeddings = projector(backbone(torch.cat(same)))
        parts.append(embeddings.view(len(same), len(same[0]), -1))
    return torch.cat(parts)


def check_views(views: Views, *, least: int = 2, most: int | None = None) -> None:
    """Raise unless the number of views is from ``least`` to ``most``.

    Raises:
        ValueError: Naming the key that sets it.

    >>> check_views([torch.ones(4, 3, 8, 8)])
    Traceback (most recent call last):
    ValueError: set crops.views to 2 or more: the method compares views, got 1
    """
    if len(views) < least or (most is not None and len(views) > most):
        wanted = f"{least}" if most == least else f"{least} or more"
        raise ValueError(
            f"set crops.views to {wanted}: the method compares views, got {len(views)}"
        )


def check_run_info(run_info: RunInfo, *, temperature: float) -> None:
    """Raise unless the temperature is positive and the batch has 2 samples or more.

    >>> check_run_info(RunInfo(num_instances=9, batch_size=1, num_batches=9), temperature=0.1)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: data.batch_size must be at least 2, got 1
    """
    positive(temperature=temperature)
    at_least(2, "data", batch_size=run_info.batch_size)


def check_queue(run_info: RunInfo, queue_size: int, *, keys: int = 1) -> None:
    """Say so if a queue is longer than the data set, or than what a run enqueues.

    >>> run_info = RunInfo(num_instances=120, batch_size=16, num_batches=2)
    >>> check_queue(run_info, 4096)
    queue_size 4096 is more than the 120 samples, which then meet older keys of their own, and \
than the 32 keys of this run, so that random ones stay in it: 32 is possible
    >>> check_queue(run_info, 32)

    Args:
        run_info: Sizes of the run.
        queue_size: Number of keys in the queue.
        keys: Keys of a sample that are enqueued at once.
    """
    samples, enqueued = run_info.num_instances, run_info.num_batches * run_info.batch_size * keys
    longer: list[str] = []
    if queue_size > samples:
        longer.append(f"than the {samples:,} samples, which then meet older keys of their own")
    if queue_size > enqueued:
        longer.append(f"than the {enqueued:,} keys of this run, so that random ones stay in it")
    if longer:
        # Of half the samples, few meet keys of their own.
        possible = max(run_info.batch_size, min(samples // 2, enqueued))
        reasons = ", and ".join(longer)
        say(f"queue_size {queue_size} is more {reasons}: {possible} is possible")
