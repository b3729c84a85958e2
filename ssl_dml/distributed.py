"""Every collective of the toolkit. On one process each is the identity."""

from typing import Any, final

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


def is_distributed() -> bool:
    """True if this is one of several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def gather(rows: Tensor) -> Tensor:
    """Rows of all processes in order of rank, without gradient; each has equally many."""
    if not is_distributed():
        return rows.detach()
    rows = rows.detach().contiguous()
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows)
    return torch.cat(parts)


class _GatherWithGradient(torch.autograd.Function):
    """All-gather whose backward sums each row's gradient over the processes that used it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401 - torch's own signature
        """All-gather, and remember which rows are this process's."""
        ctx.start, ctx.length = rank() * len(rows), len(rows)
        return gather(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        """This process's part of the sum of all gradients."""
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.length]


def gather_with_gradient(rows: Float[Tensor, "batch *rest"]) -> Float[Tensor, "all *rest"]:
    """Rows of all processes in order of rank, through which gradient flows.

    When every process returns the mean loss of its own rows, the mean of the gradients
    over processes, which DistributedDataParallel takes, is that of the whole batch.
    """
    if not is_distributed():
        return rows
    return _GatherWithGradient.apply(rows)  # pyright: ignore[reportReturnType]


class _SumWithGradient(torch.autograd.Function):
    """All-reduce whose backward is the same all-reduce."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        """All-reduce."""
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        """All-reduce of the gradients."""
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def sum_with_gradient(values: Tensor) -> Tensor:
    """Sum over processes, through which gradient flows."""
    if not is_distributed():
        return values
    return _SumWithGradient.apply(values)  # pyright: ignore[reportReturnType]


@final
class _DistributedGroup(ProcessGroup):
    """The processes of this run, in a ring."""

    def __init__(self) -> None:
        self.rank, self.count = rank(), world_size()

    def ring_shift(self, *blocks: Tensor) -> tuple[Tensor, ...]:
        """Every send and receive of a rotation is started before any is waited for."""
        received = tuple(torch.empty_like(block.contiguous()) for block in blocks)
        following, before = (self.rank + 1) % self.count, (self.rank - 1) % self.count
        exchanges = [
            exchange
            for block, space in zip(blocks, received, strict=True)
            for exchange in (
                dist.P2POp(dist.isend, block.detach().contiguous(), following),
                dist.P2POp(dist.irecv, space, before),
            )
        ]
        for request in dist.batch_isend_irecv(exchanges):
            request.wait()
        return received

    def gather(self, rows: Tensor) -> Tensor:
        """All-gather."""
        return gather(rows)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """All-reduce."""
        return sum_with_gradient(values)


def process_group() -> ProcessGroup:
    """The processes of this run as losses see them."""
    return _DistributedGroup() if is_distributed() else SINGLE_PROCESS


def rows_of_owners(
    rows: Float[Tensor, "own dim"], indices: Int[Tensor, " asked"], *, rows_per_rank: int
) -> Float[Tensor, "asked dim"]:
    """Rows of a table that is split over the processes, in the order of ``indices``.

    Every process asks at the same time, and answers what the others ask of it.

    Args:
        rows: Those that this process owns, on any device.
        indices: Rows of the whole table; the answer comes to their device.
        rows_per_rank: Rows a process; row ``i`` is owned by rank ``i // rows_per_rank``.
    """
    if not is_distributed():
        return rows[indices.to(rows.device)].to(indices.device)
    owners = indices // rows_per_rank
    order = owners.argsort()
    wanted = owners.new_zeros(world_size()).index_add_(0, owners, torch.ones_like(owners))
    asked = torch.empty_like(wanted)
    dist.all_to_all_single(asked, wanted)
    sent, received = torch.stack([wanted, asked]).tolist()  # here the host waits, once
    requests = indices.new_empty(sum(received))
    dist.all_to_all_single(requests, indices[order], received, sent)
    answers = rows[(requests - rank() * rows_per_rank).to(rows.device)].to(indices.device)
    found = answers.new_empty(len(indices), rows.shape[1])
    dist.all_to_all_single(found, answers, sent, received)
    return torch.empty_like(found).index_copy_(0, order, found)


def all_reduce_mean(values: Tensor) -> Tensor:
    """Mean over processes, without gradient."""
    if not is_distributed():
        return values.detach()
    values = values.detach().clone()
    dist.all_reduce(values)
    return values.div_(world_size())


def all_reduce_max(values: Tensor) -> Tensor:
    """Largest over processes, without gradient."""
    values = values.detach().clone()
    if is_distributed():
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values


def any_rank(condition: bool, device: torch.device) -> bool:
    """True on every process if ``condition`` is true on at least one."""
    return bool(all_reduce_max(torch.tensor(float(condition), device=device)))


def broadcast_object(value: Any) -> Any:  # noqa: ANN401 - any picklable object
    """The main process's object, on every process."""
    if not is_distributed():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_object(value: Any) -> list[Any]:  # noqa: ANN401
    """One small picklable object of every process, in order of rank."""
    if not is_distributed():
        return [value]
    box: list[Any] = [None] * world_size()
    dist.all_gather_object(box, value)
    return box
