"""A trained table so long that a step touches some of its rows only."""

from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.distributed import all_reduce_mean, rank, world_size
from ssl_dml.memory.sharded_init import random_rows

KEPT = "state_"


@final
class RowTable(nn.Module):
    """Rows of which each step trains those it opens, and leaves the others as they are.

    A row that is not opened has no gradient, and neither momentum nor weight decay moves it. The
    optimizer sees ``window``, a parameter that holds the open rows and nothing between steps;
    what it keeps of each row (momentum, moments) is kept here, beside the rows, and goes with
    them into checkpoints and to other processes. :func:`ssl_dml.training.train_open_rows` ties
    the two together. Numbers that an optimizer keeps once for a parameter, such as Adam's
    count of steps, are common to all rows, as in ``torch.optim.SparseAdam``.

    The table starts with normal draws, the same ones however many processes share it.

    Args:
        size: Number of rows.
        shape: Shape of a row.
        std: Standard deviation of the draws.
        sharded: Each of W processes keeps about a W-th of the rows; otherwise each keeps all, and
            the gradient is the mean over processes.

    Attributes:
        weight: The rows that this process keeps.
        owned: Which ones they are.
        window: What the optimizer trains.
    """

    weight: Tensor
    unit = "classes"

    def __init__(self, size: int, shape: tuple[int, ...], *, std: float, sharded: bool) -> None:
        super().__init__()
        self.size, self.sharded = size, sharded
        self.rows_per_rank = -(-size // world_size()) if sharded else size
        first = min(rank() * self.rows_per_rank, size) if sharded else 0
        self.owned = range(first, min(first + self.rows_per_rank, size))
        self.register_buffer("weight", random_rows(self.owned, shape, lambda x: x * std))
        self.window = nn.Parameter(self.weight[:0].clone())
        self.opened: Tensor | None = None
        self.register_state_dict_post_hook(_leave_out_window)
        self.register_load_state_dict_pre_hook(_expect_kept)

    def __len__(self) -> int:
        return self.size

    def tables(self) -> dict[str, Tensor]:
        """Everything that has a row for each row of the table, by its name in the state."""
        return dict(self.named_buffers())

    def open(self, rows: Int[Tensor, " opened"] | None) -> Float[Tensor, "opened *shape"]:
        """The rows to train in this step, through which gradient flows into the window.

        Args:
            rows: Distinct rows, counted from the first that this process keeps; None for all of
                them, which copies nothing.

        Raises:
            ValueError: If other rows have a gradient that no step has used yet.
        """
        if rows is not None and self.window.grad is not None:
            raise ValueError(
                "sampled class weights cannot gather gradients over several batches: set "
                "train.accumulation to 1, or sample_rate to 1"
            )
        self.opened = rows
        leaf = self.weight if rows is None else self.weight.index_select(0, rows)
        leaf = leaf.detach().requires_grad_()
        leaf.register_post_accumulate_grad_hook(self._receive)
        return leaf

    def lend(self, state: dict[str, Any]) -> None:
        """Before a step of the optimizer: give it what was kept of the open rows."""
        if self.window.grad is None:
            return
        for name, table in self.tables().items():
            if name.startswith(KEPT):
                part = table if self.opened is None else table.index_select(0, self.opened)
                state[name.removeprefix(KEPT)] = part

    @torch.no_grad()
    def take_back(self, state: dict[str, Any]) -> None:
        """After it: keep the rows and what the optimizer keeps of them, and close the window."""
        if self.window.grad is None:
            return
        shape = self.window.shape
        for key in [k for k, v in state.items() if isinstance(v, Tensor) and v.shape == shape]:
            self._keep(KEPT + key, state.pop(key))
        if self.opened is not None:
            self.weight.index_copy_(0, self.opened, self.window.detach())
        self.window.grad = None
        self.window.data = self.weight[:0]

    def _keep(self, name: str, values: Tensor) -> None:
        if self.opened is None:
            self.register_buffer(name, values)
            return
        if name not in self._buffers:
            self.register_buffer(name, torch.zeros_like(self.weight, dtype=values.dtype))
        self.get_buffer(name).index_copy_(0, self.opened, values)

    def _receive(self, leaf: Tensor) -> None:
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if world_size() > 1:
            # Of the mean loss over processes, of which each has a part, or all.
            gradient = gradient / world_size() if self.sharded else all_reduce_mean(gradient)
        earlier = self.window.grad
        self.window.grad = None
        self.window.data = leaf.detach()
        self.window.grad = gradient if earlier is None else earlier.add_(gradient)


def names_in_tables(model: nn.Module) -> list[str]:
    """Parameters and buffers of tables, which ``DistributedDataParallel`` is to leave alone.

    A table averages its gradients itself, and its rows need not be the same on every process.
    """
    return [
        f"{path}.{name}".removeprefix(".")
        for path, table in model.named_modules()
        if isinstance(table, RowTable)
        for name in ("window", *table.tables())
    ]


def _leave_out_window(_: nn.Module, state: dict[str, Any], prefix: str, __: dict[str, Any]) -> None:
    state.pop(f"{prefix}window", None)


def _expect_kept(table: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Make room for what an optimizer kept, which a new table has none of."""
    state.setdefault(f"{prefix}window", table.get_parameter("window").detach())
    for name in [name.removeprefix(prefix) for name in state if name.startswith(prefix + KEPT)]:
        if name not in table._buffers:
            value = torch.zeros_like(table.get_buffer("weight"), dtype=state[prefix + name].dtype)
            table.register_buffer(name, value)
