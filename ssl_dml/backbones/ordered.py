"""Tensors of other names in the same order: the same network as another library names it."""

from collections.abc import Iterable
from typing import Any

from timm.layers import Conv2dSame
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn

from ssl_dml.backbones.parts import Part, Tensors

CLASSIFIER = 2  # tensors of a classifier at the end of a file: weight and bias
KINDS = ("weight", "bias", "running_mean", "running_var")
# How the names of a file begin whose network pads evenly, and of one that pads as TensorFlow does.
EVEN, TENSORFLOW = "features.0.0.weight", "_conv_stem.weight"
MOBILE_EPS = 0.001  # of the norms of torchvision's MobileNetV3

Named = list[tuple[str, Tensor]]


def in_order(part: Part, wanted: Tensors, network: nn.Module) -> Part | None:
    """The same tensors under the network's names, if kinds and shapes agree one by one.

    Weights, biases and statistics of layers are compared in their order, and what belongs to no
    layer, such as tokens and scales, in its own, because libraries register those earlier or later.
    A classifier may follow. The first convolution may have other channels, and positions another
    size, which timm converts. Equal shapes are not enough where names tell more: a name that the
    network has elsewhere, or one of a library that pads in another way, is refused.
    """
    given = [(n, v) for n, v in part.tensors.items() if v.is_floating_point()]
    named = wanted.keys() <= part.tensors.keys()  # names agree, and it is the shapes that do not
    if named or not 0 <= len(given) - len(wanted) <= CLASSIFIER or _differs(given, network):
        return None
    config: Any = getattr(network, "pretrained_cfg", {})
    flexible = {f"{config.get('first_conv')}.weight", "pos_embed"}
    layers, others = (_split(tensors) for tensors in (wanted.items(), given))
    if len(layers[1]) != len(others[1]):
        return None
    words = {_word(name) for name in wanted} - {""}
    renamed: Tensors = {}
    for ours, theirs in zip(layers, others, strict=True):
        for (name, value), (other, tensor) in zip(ours, theirs, strict=False):
            shaped = name in flexible and value.ndim == tensor.ndim
            if _kind(name) != _kind(other) or not (shaped or _core(value) == _core(tensor)):
                return None
            if _word(other) in words and _word(other) != _word(name):
                return None
            renamed[name] = tensor if shaped else tensor.reshape(value.shape)
    if any(_kind(name) not in ("weight", "bias") for name, _ in others[0][len(layers[0]) :]):
        return None
    first = next(iter(wanted))
    theirs = next(name for name, tensor in given if tensor.data_ptr() == renamed[first].data_ptr())
    note = f"names differ and order and shapes agree: {first} is {theirs}"
    left = part.left + [name for name, _ in others[0][len(layers[0]) :]]
    return Part(part.section, part.prefix, renamed, left, note)


def _differs(given: Named, network: nn.Module) -> bool:
    """Networks of equal shapes that compute something else: other padding, other precision."""
    tensorflow = any(isinstance(module, Conv2dSame) for module in network.modules())
    first = given[0][0] if given else ""
    if isinstance(network, MobileNetV3) and first.endswith(EVEN):
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        if any(norm.eps != MOBILE_EPS for norm in norms):
            return True
    return first.endswith(EVEN if tensorflow else TENSORFLOW)


def _split(tensors: Iterable[tuple[str, Tensor]]) -> tuple[Named, Named]:
    """Tensors of layers, and others."""
    layers: Named = []
    others: Named = []
    for name, tensor in tensors:
        (others if _kind(name) == "other" else layers).append((name, tensor))
    return layers, others


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return next((kind for kind in KINDS if last == kind or last.endswith(f"_{kind}")), "other")


def _core(tensor: Tensor) -> tuple[int, ...]:
    """Its shape without ones at the end: a linear layer is a convolution with a kernel of 1x1."""
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _word(name: str) -> str:
    """The name of the layer itself, such as ``conv1``; none if it is a number or stands alone."""
    word = name.rpartition(".")[0].rpartition(".")[2]
    return "" if word.isdigit() else word
