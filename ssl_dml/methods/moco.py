"""MoCo: negatives from a queue of keys of a momentum encoder."""

from typing import Literal, final

import torch
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.norms import split_batch_norm
from ssl_dml.backbones.projectors import mlp
from ssl_dml.checks import at_least, in_range
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distributed import gather, rank, world_size
from ssl_dml.losses import InfoNCE
from ssl_dml.memory import Queue
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.momentum import follow, follower
from ssl_dml.methods.views import check_queue, check_run_info, check_views, information
from ssl_dml.precision import unit_rows
from ssl_dml.types import Batch, Embeddings, Samples, StepOutput


@final
class MoCo(Method):
    """Momentum contrast, versions 1 and 2.

    A step updates the momentum encoder, encodes the keys, contrasts the queries with them and with
    the queue, and then enqueues the keys of all processes. The defaults are those of version 1;
    version 2 has ``layers: 2, temperature: 0.2``, stronger augmentation and a cosine schedule.

    Args:
        backbone: The encoder of queries.
        run_info: Its batch size must be a multiple of ``parts``.
        queue_size: Number of keys, at least a batch; well below the number of samples, or older
            keys of a sample are among its own negatives.
        momentum: Fraction of its weights that the momentum encoder keeps in a step, in [0, 1].
        temperature: Softmax temperature, above 0.
        layers: Linear layers of the projector, without norms; 1 in version 1, 2 in version 2.
        output_dim: Dimension of an embedding.
        symmetric: Also contrast the second view with keys of the first, and enqueue both; the
            loss is the mean of the two.
        batch_norm: ``shuffled``, as in the paper: statistics over parts of the batch, with keys
            in another order than queries, so that statistics do not give a pair away; ``split``:
            the same without another order; ``synchronized``: statistics over the whole batch.
        parts: Number of parts of the batch of all processes, 8 GPUs in the paper; a multiple of
            the number of processes.

    References:
        He et al., 2020, arXiv:1911.05722; Chen et al., 2020, arXiv:2003.04297.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = MoCo(backbone, run_info, queue_size=8, parts=2)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> for _ in range(3):  # the first two steps fill the queue
    ...     loss = method(batch).loss
    >>> round(loss.item(), 4)  # all keys are equal: log(1 + 8)
    2.1972
    """

    step: Tensor

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        queue_size: int = 65536,
        momentum: float = 0.999,
        temperature: float = 0.07,
        layers: int = 1,
        output_dim: int = 128,
        symmetric: bool = False,
        batch_norm: Literal["shuffled", "split", "synchronized"] = "shuffled",
        parts: int = 8,
    ) -> None:
        super().__init__()
        check_run_info(run_info, temperature=temperature)
        in_range(0, 1, momentum=momentum)
        at_least(1, parts=parts)
        if batch_norm != "synchronized" and (
            run_info.batch_size % parts or run_info.batch_size < 2 * parts
        ):
            raise ValueError(
                f"parts must divide data.batch_size, {run_info.batch_size}, and leave 2 or more "
                f"samples in each; got {parts}: " + _working_parts(run_info.batch_size, parts)
            )
        width = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(width, width, output_dim, layers=layers, norm="none")
        if batch_norm != "synchronized":
            split_batch_norm(self, parts)
        self.key_backbone, self.key_projector = follower(self.backbone), follower(self.projector)
        check_queue(run_info, queue_size, keys=2 if symmetric else 1)
        self.queue = Queue(queue_size, output_dim, batch_size=run_info.batch_size)
        self.loss = InfoNCE(temperature=temperature, tile_size="auto")
        self.momentum, self.symmetric = momentum, symmetric
        self.shuffled = batch_norm == "shuffled"
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's queries against the queue, which then receives all keys."""
        views, indices, _ = batch
        check_views(views, most=2)
        follow(self.key_backbone, self.backbone, self.momentum)
        follow(self.key_projector, self.projector, self.momentum)
        directions = 2 if self.symmetric else 1
        queries = [self.projector(self.backbone(view)) for view in views[:directions]]
        keys = [self.keys(view) for view in (views[1], views[0])[:directions]]
        negatives = self.queue.keys.clone()  # what is enqueued below must not reach backward
        own = slice(rank() * len(indices), (rank() + 1) * len(indices))
        losses = [self.loss(q, k[own], negatives) for q, k in zip(queries, keys, strict=True)]
        self.queue.enqueue(torch.cat(keys))
        self.step += 1
        loss = torch.stack(losses).mean()
        return StepOutput(loss, information(loss, len(negatives) + 1))

    @torch.no_grad()
    def keys(self, view: Samples) -> Embeddings:
        """Keys of a view of the samples of all processes, in order of rank."""
        if not self.shuffled:
            return gather(unit_rows(self.key_projector(self.key_backbone(view))))
        everyone = gather(view)
        draws = counter_based_indices(self.step[None], self.step, count=len(everyone), high=2**62)
        order = draws[0].argsort()
        part = everyone[order[rank() * len(view) : (rank() + 1) * len(view)]]
        mixed = gather(unit_rows(self.key_projector(self.key_backbone(part))))
        return torch.empty_like(mixed).index_copy_(0, order, mixed)


def _working_parts(batch_size: int, parts: int) -> str:
    """What to set so that parts divide a batch, and processes share the parts.

    >>> _working_parts(24, 10), _working_parts(7, 2)
    ('set it to 8, or data.batch_size to 20', 'set it to 1, or data.batch_size to 6')
    """
    world, remedies = world_size(), list[str]()
    wholes = [n for n in range(world, batch_size // 2 + 1, world) if batch_size % n == 0]
    if wholes:
        remedies.append(f"it to {min(wholes, key=lambda n: abs(n - parts))}")
    if parts >= 1 and parts % world == 0 and batch_size >= 2 * parts:
        remedies.append(f"data.batch_size to {batch_size // parts * parts}")
    return f"set {', or '.join(remedies or ['batch_norm to synchronized'])}"
