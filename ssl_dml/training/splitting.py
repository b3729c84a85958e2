"""Encoders that do not fit: weights, gradients and optimizer split over the processes (FSDP)."""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ssl_dml.backbones import Backbone, Chunked
from ssl_dml.backbones.adapters import is_adapted
from ssl_dml.distributed import is_split, rank, split_like, split_weights, whole, world_size
from ssl_dml.training.loop import TrainConfig
from ssl_dml.types import ConfigError

ASKED = "ACCELERATE_USE_FSDP"
LEAST = "FSDP_MIN_NUM_PARAMS"
# What a launch file may say, and what of it is not done here, with what to write instead.
REFUSED = {
    "FSDP_VERSION": (("1",), "fsdp_version: 2"),
    "FSDP_OFFLOAD_PARAMS": (("true",), "fsdp_offload_params: false"),
    "FSDP_RESHARD_AFTER_FORWARD": (("false", "shard_grad_op"), "fsdp_reshard_after_forward: true"),
    "FSDP_AUTO_WRAP_POLICY": (
        ("transformer_based_wrap",),
        "fsdp_auto_wrap_policy: SIZE_BASED_WRAP, with fsdp_min_num_params",
    ),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        ("true",),
        "fsdp_activation_checkpointing: false, and train.encode_chunk for fewer activations",
    ),
}
CONTAINERS = (nn.Sequential, nn.ModuleList)


def asked() -> bool:
    """Whether accelerate's launcher asks for FSDP."""
    return os.environ.get(ASKED, "false").lower() == "true"


@contextmanager
def unasked() -> Iterator[None]:
    """Hide the question from accelerate, which would split a method as a whole, memory and all."""
    before = os.environ.get(ASKED)
    os.environ[ASKED] = "false"
    try:
        yield
    finally:
        del os.environ[ASKED]
        if before is not None:
            os.environ[ASKED] = before


def check_launch(config: TrainConfig, precision: str) -> None:
    """Raise if a launcher asks for FSDP in a way that is not trained with here.

    Raises:
        ConfigError: Naming the key of the launch file, or of the configuration.
    """
    if not asked():
        return
    for name, (values, remedy) in REFUSED.items():
        if (given := os.environ.get(name, "").lower()) in values:
            raise ConfigError(
                f"the launcher asks for FSDP with {name.lower()} {given}, which is not trained "
                f"with here; write {remedy} in its file, as in configs/accelerate/fsdp.yaml"
            )
    if config.compile:
        raise ConfigError(
            "train.compile is true, and the launcher asks for FSDP, whose weights come and go; set "
            "it to false"
        )
    if precision == "fp16":
        raise ConfigError(
            "train.precision fp16 is not for weights that are split over processes (FSDP), as one "
            "part alone may overflow; use bf16"
        )


def split_encoders(
    encoders: Iterable[nn.Module], *, frozen: float = 0.0, setting: str = ""
) -> None:
    """Split each encoder over the processes if the launcher asks for FSDP; one process does not.

    Each is split apart from the others and from the rest of the method or head, so that momentum
    encoders follow part by part, and memories stay as they are. A block of at least
    ``fsdp_min_num_params`` weights of the launch file is whole only while it computes.

    Args:
        encoders: Changed in place; optimizers are to be built afterwards.
        frozen: Epochs in which the backbone is to be frozen, and then not.
        setting: The key that says so.

    Raises:
        ConfigError: If an encoder has adapters, or is to be frozen for a while.
    """
    if not asked() or world_size() == 1:
        return
    if frozen:
        raise ConfigError(
            f"{setting} is {frozen}, and the launcher asks for FSDP, with which a backbone learns "
            "from the first step or not at all; set it to 0"
        )
    # Of features that are a view of something; nothing here changes features in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
    least = int(float(os.environ.get(LEAST) or 1e8))
    encoders = list({id(encoder): encoder for encoder in encoders}.values())
    if any(is_adapted(module) for encoder in encoders for module in encoder.modules()):
        raise ConfigError(
            "the launcher asks for FSDP, and adapters (LoRA) train too few weights to be worth "
            "it; launch without --use_fsdp, or train the weights themselves"
        )
    done: set[int] = set()
    for root in [root for encoder in encoders for root in _roots(encoder)]:
        if id(root) not in done and any(True for _ in root.parameters()):
            done |= {id(module) for module in root.modules()}
            split_weights(root, list(_units(root, least)))


def _roots(encoder: nn.Module) -> Iterator[nn.Module]:
    """The networks of an encoder that are called by themselves."""
    inner = list(encoder.children())
    own = any(True for _ in encoder.parameters(recurse=False))
    opened = isinstance(encoder, Backbone) and not own
    if isinstance(encoder, Chunked) or (
        opened and not any(isinstance(child, (nn.ModuleList, nn.ModuleDict)) for child in inner)
    ):
        for child in inner:
            yield from _roots(child)
    else:
        yield encoder


def _units(network: nn.Module, least: int) -> Iterator[nn.Module]:
    """Blocks of a network, which are in lists and sequences, that have so many weights."""
    for child in network.children():
        enough = sum(parameter.numel() for parameter in child.parameters()) >= least
        if isinstance(network, CONTAINERS) and enough and not isinstance(child, CONTAINERS):
            yield child
        else:
            yield from _units(child, least)


def whole_state(item: Any) -> Any:  # noqa: ANN401
    """The state of a part of a run, split weights put together, which the first process keeps.

    Every process calls it at once.

    Args:
        item: Has a ``state_dict``.
    """
    state = item.state_dict()
    return tree_map(_together, state) if any(map(is_split, tree_leaves(state))) else state


def _together(value: Any) -> Any:  # noqa: ANN401
    if not is_split(value):
        return value
    found = whole(value.detach())
    return found.cpu() if rank() == 0 else None


def fitted_state(item: Any, state: Any) -> Any:  # noqa: ANN401
    """A saved state, split as the weights of the part that will load it are.

    Args:
        item: Has a ``state_dict``; an optimizer also has ``param_groups``.
        state: What :func:`whole_state` gave.
    """
    if not hasattr(item, "param_groups"):
        own = item.state_dict()
        if not any(map(is_split, tree_leaves(own))):
            return state
        return {name: _fitted(value, own.get(name)) for name, value in state.items()}
    parameters = [p for group in item.param_groups for p in group["params"]]
    if not any(map(is_split, parameters)):
        return state
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    owners = dict(zip(numbers, parameters, strict=True))
    kept = {
        number: {key: _fitted(value, owners[number]) for key, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": kept}


def _fitted(value: Any, like: Any) -> Any:  # noqa: ANN401
    """A value split as another of its shape is."""
    same = isinstance(value, Tensor) and is_split(like) and value.shape == like.shape
    return split_like(value, like) if same else value
