"""Tensors of other names in the same order: the same network as another library names it."""

from typing import Any

from torch import nn

from ssl_dml.backbones.parts import Part, Tensors

CLASSIFIER = 2  # tensors of a classifier at the end of a file: weight and bias
KINDS = ("weight", "bias", "running_mean", "running_var")


def in_order(part: Part, wanted: Tensors, network: nn.Module) -> Part | None:
    """The same tensors under the network's names, if kinds and shapes agree one by one.

    A classifier may follow. The first convolution may have other channels, and positions another
    size, which timm converts.
    """
    given = [(n, v) for n, v in part.tensors.items() if v.is_floating_point()]
    if not 0 <= len(given) - len(wanted) <= CLASSIFIER:
        return None
    config: Any = getattr(network, "pretrained_cfg", {})
    flexible = {f"{config.get('first_conv')}.weight", "pos_embed"}
    for (name, value), (theirs, tensor) in zip(wanted.items(), given, strict=False):
        same = value.shape == tensor.shape or (name in flexible and value.ndim == tensor.ndim)
        if _kind(name) != _kind(theirs) or not same:
            return None
    if any(_kind(name) not in ("weight", "bias") for name, _ in given[len(wanted) :]):
        return None
    first, theirs = next(iter(wanted)), given[0][0]
    renamed = {name: tensor for name, (_, tensor) in zip(wanted, given, strict=False)}
    note = f"names differ and order and shapes agree: {first} is {theirs}"
    return Part(part.section, part.prefix, renamed, part.others + len(given) - len(wanted), note)


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in KINDS else "other"
