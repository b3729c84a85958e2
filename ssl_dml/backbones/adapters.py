"""Low-rank adapters beside the layers of a trained network (LoRA), and the network without them."""

import copy
import re
from collections import Counter
from importlib.util import find_spec
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.building import blank_samples
from ssl_dml.backbones.norms import freeze_batch_norm
from ssl_dml.types import ConfigError

PATCHES = "patch_embed"  # how timm names the first layer of a vision transformer


def check_adapters(setting: str) -> None:
    """Raise if the library of adapters is missing.

    Args:
        setting: What asks for it, such as ``adapt.train is lora``.

    Raises:
        ConfigError: If it is not installed.
    """
    if find_spec("peft") is None:
        raise ConfigError(f"{setting} and needs peft: pip install 'ssl_dml[lora]'")


def add_adapters(backbone: Backbone, rank: int) -> int:
    """Freeze a network and put trainable adapters beside its layers, in place.

    A layer W becomes W + 2 B A, where A and B are of the given rank and B begins at zero, so the
    network computes what it did. Linear layers and convolutions get adapters; the patch embedding,
    grouped and dilated convolutions, and layers of other classes, such as norms and GRUs, do not.
    Batch norm keeps its statistics.

    Args:
        backbone: The network; what it froze itself gets no adapters.
        rank: Rank of the adapters.

    Returns:
        Number of layers that have one.

    References:
        Hu et al., 2021, arXiv:2106.09685.
    """
    names = _adaptable(backbone)
    backbone.requires_grad_(False)
    if names:
        from peft import LoraConfig, inject_adapter_in_model

        pattern = "|".join(map(re.escape, names))  # a list would also match ends of names
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=pattern)
        inject_adapter_in_model(config, backbone)
    freeze_batch_norm(backbone)
    return len(names)


def without_adapters(network: nn.Module) -> nn.Module:
    """A copy whose adapters are merged into the weights beside them; the network if it has none."""
    if not any(is_adapted(module) for module in network.modules()):
        return network
    plain = copy.deepcopy(network)
    for name, module in list(plain.named_modules()):
        if is_adapted(module):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(plain.get_submodule(parent), child, layer.get_base_layer())
    return plain


def is_adapted(module: nn.Module) -> bool:
    """Whether it is a layer of peft; told by name, as importing peft takes seconds."""
    return type(module).__module__.startswith("peft.") and hasattr(module, "get_base_layer")


@torch.no_grad()
def _adaptable(backbone: Backbone) -> list[str]:
    """Names of the layers that can have adapters.

    Networks that read the weight of a layer without calling it, such as attention of BEiT and of
    torch, would ignore its adapter, so one call shows which layers count. A weight that layers
    share cannot have one either: merged, it would count in all of them.
    """
    uses = Counter[Tensor](p for _, p in backbone.named_parameters(remove_duplicate=False))
    names: dict[nn.Module, str] = {
        module: name
        for name, module in backbone.named_modules()
        if _is_plain(module) and PATCHES not in name and uses[module.weight] == 1
    }
    called = dict[str, None]()
    handles = [
        module.register_forward_pre_hook(lambda m, _: called.update({names[m]: None}))
        for module in names
    ]
    training = backbone.training
    with torch.random.fork_rng(devices=[]):
        backbone.eval()(blank_samples(backbone.inputs))
    backbone.train(training)
    for handle in handles:
        handle.remove()
    return list(called)


def _is_plain(module: nn.Module) -> TypeGuard[nn.Linear | nn.Conv1d | nn.Conv2d]:
    """A linear layer or convolution, and no subclass, that an adapter of peft fits exactly."""
    if type(module) is nn.Conv1d or type(module) is nn.Conv2d:
        plain = module.groups == 1 and {*module.dilation} == {1} and module.padding_mode == "zeros"
        return plain and module.weight.requires_grad
    return type(module) is nn.Linear and module.weight.requires_grad
