"""Every collective of the toolkit. On one process each is the identity."""

from collections.abc import Sequence
from typing import Any, cast, final

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

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


def split_weights(network: nn.Module, units: Sequence[nn.Module]) -> None:
    """Split every weight of a network over the processes, each of which keeps a part of its rows.

    Weights are whole on the current accelerator, or the CPU, only while a unit computes with them;
    gradients are means over the processes and split alike. Buffers stay whole.

    Args:
        network: Changed in place; its parameters are others afterwards, of torch's ``DTensor``.
        units: Parts of it, apart from each other, that compute one after another.

    References:
        ``torch.distributed.fsdp.fully_shard``.
    """
    from torch.distributed.device_mesh import init_device_mesh  # these take a second to import
    from torch.distributed.fsdp import fully_shard

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    mesh = init_device_mesh(device.type, (world_size(),))
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()  # channels_last cannot be cut by rows
    for unit in (*units, network):
        # Also the outermost: what follows it, such as momentum, finds parts.
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)


def is_split(value: object) -> bool:
    """Whether this is a weight that :func:`split_weights` has split, or a value for each of it.

    >>> is_split(torch.ones(2))
    False
    """
    return hasattr(value, "full_tensor")


def has_split_weights(network: nn.Module) -> bool:
    """Whether a network has weights that are split over the processes.

    >>> has_split_weights(nn.Linear(2, 1))
    False
    """
    return any(map(is_split, network.parameters()))


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of a split tensor, sharing its memory; another tensor as it is.

    >>> own_part(torch.ones(2))
    tensor([1., 1.])
    """
    return cast(Any, tensor).to_local() if is_split(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a split tensor, which every process asks for at once; another tensor as it is.

    >>> whole(torch.ones(2))
    tensor([1., 1.])
    """
    return cast(Any, tensor).full_tensor() if is_split(tensor) else tensor


def split_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which every process has, split as another is; as it is if that is whole.

    >>> split_like(torch.ones(2), like=torch.zeros(2))
    tensor([1., 1.])
    """
    if not is_split(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = cast(Any, like).device_mesh, cast(Any, like).placements
    return distribute_tensor(tensor.to(like.device), mesh, placements, src_data_rank=None)


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
