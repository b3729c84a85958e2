"""Partial FC: class weights that are sampled in each step, or split over processes."""

from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from ssl_dml.distributed import (
    all_reduce_mean,
    is_split,
    own_part,
    sum_with_gradient,
    world_size,
)
from ssl_dml.memory.sharded import ShardedRows, random_rows

STATE = "state_"


@final
class PartialFC(ShardedRows):
    """Class weights: whole, split over processes, or sampled in each step.

    Weights that are neither split nor sampled are one plain parameter. The others need
    :func:`attach_partial_fc`, since a step trains the sampled rows only: the other rows have no
    gradient, and neither momentum nor weight decay moves them. One step goes like this:

    1. ``layer(rows)`` copies the sampled rows out of ``weight``, a buffer.
    2. After the backward pass the parameter ``active`` holds these rows and their gradient.
    3. Before the optimizer's step, what it keeps of these rows (momentum, moments) is copied into
       its state.
    4. After the step, the rows and what the optimizer keeps of them are written back, and
       ``active`` is empty again.

    What the optimizer keeps of each row is a buffer here, so it follows the rows into
    checkpoints and to other processes. What it keeps once for a parameter, such as Adam's number
    of steps, is common to all rows, as in ``torch.optim.SparseAdam``.

    >>> import torch
    >>> from ssl_dml.memory import PartialFC, attach_partial_fc
    >>> layer = PartialFC(4, (2,), std=1.0, sampled=True, sharded=False)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    >>> attach_partial_fc(layer, optimizer)
    >>> before = layer.weight.clone()
    >>> layer(torch.tensor([1, 3])).sum().backward()
    >>> optimizer.step()
    >>> (layer.weight - before).round().abs().tolist()
    [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]

    Args:
        size: Number of classes.
        shape: Shape of the weight of a class.
        std: Standard deviation of the normal values that weights start from, which do not depend
            on the number of processes.
        sampled: Whether steps train some rows only.
        sharded: Whether each of W processes keeps about a W-th of the classes. Otherwise each
            keeps all, and the gradient is the mean over processes.

    Attributes:
        weight: Weights of the classes that this process keeps.
        plain: Whether ``weight`` is a parameter, trained like any other.
        active: Otherwise, the parameter that the optimizer trains.
        sampled_rows: The rows of the last step; None for all.

    References:
        An et al., 2021, arXiv:2010.05222.
    """

    weight: Tensor
    active: nn.Parameter
    unit = "classes"

    def __init__(
        self, size: int, shape: tuple[int, ...], *, std: float, sampled: bool, sharded: bool
    ) -> None:
        super().__init__(size, sharded=sharded)
        weight = random_rows(self.owned, shape, lambda x: x * std)
        self.plain = not (sampled or sharded)
        if self.plain:
            self.weight = nn.Parameter(weight)
            return
        self.register_buffer("weight", weight)
        self.active = nn.Parameter(weight[:0].clone())
        self.sampled_rows: Tensor | None = None
        self.attached: int | None = None
        self.register_state_dict_post_hook(_leave_out_active)
        self.register_load_state_dict_pre_hook(_make_room)

    def forward(
        self, rows: Int[Tensor, " sampled"] | None = None
    ) -> Float[Tensor, "sampled *shape"]:
        """Weights of the classes of a step, through which gradient flows.

        Args:
            rows: Distinct rows, counted from the first that this process keeps; None for all of
                them, which copies nothing.

        Raises:
            ValueError: If the gradient of an earlier sample was not used yet; in the backward
                pass, if no optimizer was attached.
        """
        weight = self.weight if rows is None else self.weight.index_select(0, rows)
        if self.plain:
            return weight
        if rows is not None and self.active.grad is not None:
            raise ValueError(
                "sampled class weights cannot add up gradients over several batches: set "
                "train.accumulation to 1, or sample_rate to 1"
            )
        self.sampled_rows = rows
        leaf = weight.detach().requires_grad_()
        leaf.register_post_accumulate_grad_hook(self._activate)
        return leaf

    def _activate(self, leaf: Tensor) -> None:
        """Give the optimizer's parameter the rows of a step and their gradient."""
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if self.attached != id(self.active):
            verb = "splits" if self.sampled_rows is None else "samples"
            raise ValueError(
                f"MarginSoftmax {verb} its class weights, and no optimizer updates them: call "
                "ssl_dml.heads.attach_partial_fc(model, optimizer) after building the optimizer"
            )
        if world_size() > 1:
            # The loss is a mean over processes. Each has its own rows, or its part of all rows.
            gradient = gradient / world_size() if self.sharded else all_reduce_mean(gradient)
        earlier, self.active.grad = self.active.grad, None
        self.active.data = leaf.detach()
        self.active.grad = gradient if earlier is None else earlier.add_(gradient)

    def _before_step(self, optimizer: Optimizer, *_: object) -> None:
        """Copy what the optimizer keeps of the active rows into its state."""
        if self.active.grad is None:
            return
        state, rows = optimizer.state[self.active], self.sampled_rows
        # The checkpoint of a run whose class weights were a plain parameter.
        for key in _keys_of_shape(state, (self.size, *self.weight.shape[1:])):
            self.register_buffer(STATE + key, state.pop(key)[self.owned.start : self.owned.stop])
        for name, kept in self.named_buffers():
            if name.startswith(STATE):
                part = kept if rows is None else kept.index_select(0, rows)
                state[name.removeprefix(STATE)] = part

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, *_: object) -> None:
        """Write back the active rows and what the optimizer keeps of them."""
        if self.active.grad is None:
            return
        state, rows = optimizer.state[self.active], self.sampled_rows
        for key in _keys_of_shape(state, self.active.shape):
            part = state.pop(key)
            if rows is None:
                self.register_buffer(STATE + key, part)
            else:
                self._buffer(STATE + key, part.dtype).index_copy_(0, rows, part)
        if rows is not None:
            self.weight.index_copy_(0, rows, self.active.detach())
        self.active.grad = None
        self.active.data = self.weight[:0]

    def _buffer(self, name: str, dtype: torch.dtype) -> Tensor:
        if name not in self._buffers:
            self.register_buffer(name, torch.zeros_like(self.weight, dtype=dtype))
        return self.get_buffer(name)


def attach_partial_fc(model: nn.Module, optimizer: Optimizer) -> None:
    """Let an optimizer update class weights that are sampled or split over processes.

    Call it once, after building the optimizer. Without such class weights it does nothing.

    Args:
        model: The model whose parameters ``optimizer`` has.
        optimizer: An optimizer of torch, not prepared by accelerate. What it keeps in the shape
            of a parameter must belong to the rows one by one.

    Raises:
        ValueError: If the optimizer keeps something of the rows before its first step.
    """
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for layer in _layers(model):
        if id(layer.active) not in trained:
            continue
        if optimizer.state.get(layer.active):
            raise ValueError(
                f"optimizer {type(optimizer).__name__} has a state of class weights before they "
                "are sampled: take one that starts without, such as SGD or AdamW"
            )
        layer.attached = id(layer.active)  # so a copy of the model is not attached
        optimizer.register_step_pre_hook(layer._before_step)
        optimizer.register_step_post_hook(layer._after_step)


def gradient_norm(model: nn.Module) -> Tensor:
    """Norm of the whole gradient, with the parts of all processes where weights are split."""
    device = next(model.parameters()).device
    sharded = {id(layer.active) for layer in _layers(model) if layer.sharded}
    sharded |= {id(parameter) for parameter in model.parameters() if is_split(parameter)}
    gradients: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in model.parameters():
        if parameter.grad is not None:
            gradients[id(parameter) in sharded].append(own_part(parameter.grad))
    zero = torch.zeros((), device=device)  # without a gradient torch's norm is one on the CPU
    own, common = (get_total_norm(those) if those else zero for those in gradients.values())
    return (common.square() + sum_with_gradient(own.square())).sqrt() if sharded else common


def ddp_ignored_names(model: nn.Module) -> list[str]:
    """Names of sampled or split class weights, which ``DistributedDataParallel`` must leave alone.

    They average their gradients themselves, and their rows need not be the same on every process.
    A model gives this list as ``_ddp_params_and_buffers_to_ignore``.
    """
    return [
        f"{path}.{name}".removeprefix(".")
        for path, layer in model.named_modules()
        if isinstance(layer, PartialFC) and not layer.plain
        for name in ("active", *dict(layer.named_buffers()))
    ]


def _layers(model: nn.Module) -> list[PartialFC]:
    return [m for m in model.modules() if isinstance(m, PartialFC) and not m.plain]


def _keys_of_shape(state: dict[str, Any], shape: tuple[int, ...]) -> list[str]:
    """What an optimizer keeps with one value for each value of the parameter."""
    return [key for key, v in state.items() if isinstance(v, Tensor) and v.shape == shape]


def _leave_out_active(_: nn.Module, state: dict[str, Any], prefix: str, __: dict[str, Any]) -> None:
    state.pop(f"{prefix}active", None)


def _make_room(layer: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Make buffers for what an optimizer kept, which a new layer has none of."""
    assert isinstance(layer, PartialFC)
    state.setdefault(f"{prefix}active", layer.active.detach())
    for name in [name for name in state if name.startswith(prefix + STATE)]:
        layer._buffer(name.removeprefix(prefix), state[name].dtype)
