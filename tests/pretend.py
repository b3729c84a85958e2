"""A pretend accelerator: tensors of a device of their own, whose numbers are on the CPU.

``install()`` makes ``torch.device("pretend")`` the accelerator of this process, so it is for
workers. As with a real one, tensors of the host and of the device do not mix, numpy takes none
of the device, and backward runs in a thread of its own. ``join()`` opens a process group that
takes tensors of the device alone, as NCCL's does: torch refuses the others itself.
"""

import os
import sys
import threading
import types
from collections import Counter
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.optim.optimizer import _foreach_supported_types as of_optimizers
from torch.utils._foreach_utils import _foreach_supported_types as of_norms
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
# A device takes numbers from the host as scalars, in copies and as indices.
FROM_HOST = {"copy_", "index", "index_put", "index_put_", "_index_put_impl_"}
FACTORIES = [
    "empty.memory_format", "empty_strided", "zeros", "ones", "full", "eye", "scalar_tensor",
    "linspace", "hann_window", "arange", "arange.start", "arange.start_step", "triu_indices",
    "tril_indices", "rand", "randn", "randint", "randint.low", "randperm",
]  # fmt: skip
# The host waits for the device where the numbers of its tensors decide what comes next.
WAITING = {
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount",
    "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive",
    "_linalg_check_errors",
}  # fmt: skip
# Views and memory: nothing is launched for them.
FREE = ("empty", "new_empty", "detach", "_unsafe_view", "_reshape_alias", "record_stream", "is_")
LIBRARIES = ("ssl_dml", "kornia", "accelerate")
aten = torch.ops.aten


class OnDevice(torch.Tensor):
    """A tensor of the device; ``numbers`` are its values."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers, requires_grad=False):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device(NAME, 0),
            requires_grad=requires_grad,
        )
        tensor.numbers = numbers
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {})

    @property
    def data(self):
        return torch._C.TensorBase.data.__get__(self)

    @data.setter
    def data(self, other):
        torch._C.TensorBase.data.__set__(self, other)
        self.numbers = other.numbers

    def numpy(self, **_):
        raise TypeError("numpy takes no tensor of a device: copy it with .cpu() first")

    __array__ = numpy

    def tolist(self):
        return self.cpu().tolist()

    def record_stream(self, stream):
        """Keep the memory until the stream has come here."""
        self.used_by = stream

    def __reduce_ex__(self, protocol):
        return self.numbers.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo):
        copied = OnDevice(self.numbers.detach().clone(), self.requires_grad)
        copied.__dict__ |= {k: v for k, v in self.__dict__.items() if k != "numbers"}
        return memo.setdefault(id(self), copied)

    def __repr__(self):
        return f"{NAME}: {self.numbers!r}"


class _Settings:
    float64, group, library = True, None, None
    waits, launches = None, 0


class _Event:
    """A mark in a stream whose operations are done at once."""

    def __init__(self, device=None):
        self.device, self.stream = device, None

    def record(self, stream=None):
        """Mark this place."""
        self.stream = stream

    def synchronize(self):
        """Wait until the stream has come here."""


class Stream:
    """A queue of operations, which are done at once; it notes what it waits for."""

    _of_thread = threading.local()

    def __init__(self, device=None):
        self.device, self.waited = device, []

    def wait_event(self, event):
        """Do nothing more before the event."""
        self.waited.append(event)

    @classmethod
    def current(cls, device=None):
        """That of this thread."""
        if not hasattr(cls._of_thread, "stream"):
            cls._of_thread.stream = cls(device)
        return cls._of_thread.stream

    @classmethod
    @contextmanager
    def chosen(cls, stream):
        """Make another the current one for a while."""
        before, cls._of_thread.stream = cls.current(), stream
        try:
            yield
        finally:
            cls._of_thread.stream = before


@contextmanager
def counted():
    """Count where the host waits for the device, by file and line, and what it launches."""
    _Settings.waits, _Settings.launches = Counter(), 0
    try:
        yield _Settings
    finally:
        _Settings.waits = None


def launched():
    """How many launches there were since counting began."""
    return _Settings.launches


def install(*, float64=True):
    """Make it the accelerator of this process, with float64 or without, as MPS is."""
    generator = {"get_rng_state": lambda *_: torch.get_rng_state()}
    generator["set_rng_state"] = lambda state, *_: torch.set_rng_state(state)
    module = types.SimpleNamespace(
        **generator,
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        set_device=lambda _: None,
        synchronize=lambda *_: None,
        Stream=Stream,
        Event=_Event,
        stream=Stream.chosen,
        current_stream=Stream.current,
        manual_seed=lambda _: None,  # the generator is the CPU's, and has been seeded
        manual_seed_all=lambda _: None,
        _is_in_bad_fork=lambda: False,
        get_amp_supported_dtype=lambda: [torch.float16, torch.bfloat16],
    )
    _Settings.float64 = float64
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(
        NAME, backend_module=module
    )
    _Settings.library = torch.library.Library("aten", "IMPL")
    for name in FACTORIES:
        base, _, overload = name.partition(".")
        operation = getattr(getattr(aten, base), overload or "default")
        _Settings.library.impl(name, _factory(operation), "PrivateUse1")
    # Of torch.tensor(), which copies below Python's dispatch.
    _Settings.library.impl("_copy_from", _copy_from, "PrivateUse1")
    torch.Event = _Event
    # On an accelerator an optimizer updates all parameters at once.
    of_optimizers.append(OnDevice)
    of_norms.append(OnDevice)
    # A module that moves to a real device keeps its parameters, of which an optimizer knows.
    torch.__future__.set_swap_module_params_on_conversion(True)


def without_streams():
    """Take the streams away, which not every accelerator has."""
    del torch.get_device_module(NAME).Stream


def alone():
    """Let accelerate take it for the device of this machine, with one process."""
    from accelerate.state import PartialState

    PartialState.default_device = property(lambda _: torch.device(NAME, 0))


def join(store):
    """Open a process group, and let accelerate take it and the device for a machine's own.

    ``RANK`` and ``WORLD_SIZE`` in the environment say who this is; ``store`` is a new file in
    which the processes find each other.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        f"{NAME}:gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    _Settings.group = dist.new_group(backend="gloo")
    PartialState._prepare_backend = lambda *_: (f"{NAME}:gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda self: setattr(self, "device", torch.device(NAME, 0))
    os.environ |= {"LOCAL_RANK": os.environ["RANK"], "LOCAL_WORLD_SIZE": os.environ["WORLD_SIZE"]}
    torch.nn.parallel.DistributedDataParallel = _Averaged


class _Averaged(nn.Module):
    """DDP in small: each gradient is averaged when it is there."""

    def __init__(self, module, **_):
        super().__init__()
        self.module = module
        left_alone = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and name not in left_alone:
                parameter.register_post_accumulate_grad_hook(self._average)

    def forward(self, *args):
        return self.module(*args)

    @staticmethod
    def _average(parameter):
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


def _compute(operation, args, kwargs):
    name = operation._schema.name.rpartition("::")[2]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if operation.namespace == "c10d":
        return operation(*tree_map(_of_host, args), **tree_map(_of_host, kwargs))
    _refuse_mixture(name, tensors)
    if is_launch(operation) and not _crosses(name, args, kwargs):  # those are copies beside it
        _Settings.launches += 1
    if waits_for(name, args, kwargs):
        _wait(name)
    if name == "copy_":
        return _copy(*args)
    device = kwargs.get("device")
    own = {**kwargs, "device": torch.device("cpu")} if device is not None else kwargs
    found = operation(*tree_map(_numbers, args), **tree_map(_numbers, own))
    if device is not None and device.type == "cpu":
        return found
    wrapped = tree_map(_on_device, found)
    return return_and_correct_aliasing(operation, args, kwargs, wrapped)


def _refuse_mixture(name, tensors):
    for tensor in tensors:
        if tensor.ndim and not isinstance(tensor, OnDevice) and name not in FROM_HOST:
            raise RuntimeError(f"{name}: a tensor of the host among those of {NAME}")


def is_launch(operation):
    """Whether the device does something for an operation."""
    if operation._schema.name.rpartition("::")[2].startswith(FREE):
        return False
    returns = [found.alias_info for found in operation._schema.returns]
    return not any(alias is not None and not alias.is_write for alias in returns)


def waits_for(name, args, kwargs):
    """Whether the host waits for an operation."""
    if name in WAITING:
        return True
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if "index" in name and len(args) > 1 and isinstance(args[1], (list, tuple)):
        indices = [index for index in args[1] if isinstance(index, torch.Tensor)]
        single = name != "index" and args[2].numel() == 1
        masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not single
        return masks or any(index.ndim and not isinstance(index, OnDevice) for index in indices)
    if name == "copy_":
        return _blocks(args[0], args[1], *args[2:])
    return _crosses(name, args, kwargs) and not kwargs.get("non_blocking", False)


def _crosses(name, args, kwargs):
    """Whether an operation copies between host and device."""
    if name == "copy_":
        return isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice)
    if name != "_to_copy" or (device := kwargs.get("device")) is None:
        return False
    return (device.type == "cpu") == isinstance(args[0], OnDevice)


def _blocks(into, source, non_blocking=False, *_):
    return _crosses("copy_", (into, source), {}) and not non_blocking


def _wait(name):
    """Note who lets the host wait, if somebody counts."""
    if _Settings.waits is None:
        return
    frame = sys._getframe(2)
    while frame and not any(f"/{library}/" in frame.f_code.co_filename for library in LIBRARIES):
        frame = frame.f_back
    place = "elsewhere"
    if frame:
        inner = frame.f_code.co_filename.rpartition("site-packages/")[2]
        place = f"{inner.rpartition('/ssl_dml/')[2]}:{frame.f_lineno}"
    _Settings.waits[f"{place} {name}"] += 1


def _copy_from(source, into, non_blocking=False):
    if _blocks(into, source, non_blocking):
        _wait("copy")
    return _copy(into, source)


def _copy(into, source, *_):
    _numbers(into).copy_(_numbers(source))
    return into


def _factory(operation):
    def create(*args, **kwargs):
        if is_launch(operation):  # not by the thread that only copies
            _Settings.launches += 1
        kwargs.pop("pin_memory", None)
        return _on_device(operation(*args, **{**kwargs, "device": torch.device("cpu")}))

    return create


def _on_device(value):
    if not isinstance(value, torch.Tensor) or isinstance(value, OnDevice):
        return value
    if value.dtype == torch.float64 and not _Settings.float64:
        raise TypeError(f"{NAME} has no float64")
    return OnDevice(value)


def _numbers(value):
    return value.numbers if isinstance(value, OnDevice) else value


def _of_host(value):
    """A tensor's numbers; a group of the device is that of the host, whose members are the same."""
    if isinstance(value, torch.ScriptObject) and "ProcessGroup" in value._type().name():
        return _Settings.group.boxed()
    return _numbers(value)
