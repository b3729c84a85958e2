"""Fit the tensors of a foreign file to a network: every one of them, or an error.

A file rarely names its tensors as a network does. Three ways are tried, in this order:

1. *A prefix*: the names of the network behind ``module.encoder_q.``, ``backbone.`` or any other,
   in any section of the file.
2. *timm's own conversion*: names of the authors' code, another image size, other channels.
3. *The same order*: other names of the same kinds and shapes, one after the other.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ssl_dml.backbones.conversion import converted, with_channels
from ssl_dml.backbones.jax_files import from_jax, is_jax
from ssl_dml.backbones.ordered import in_order
from ssl_dml.backbones.parts import Part, Tensors, find_parts, groups

GROUPS = 4  # groups of tensors left that are named


@dataclass(frozen=True)
class Fitted:
    """A state dict for a network, and how it came about.

    Args:
        state: Every tensor of the network.
        report: One line: how many tensors were found, where, and what was left.
    """

    state: Tensors
    report: str


def fit_weights(
    content: Mapping[Any, Any], network: nn.Module, arguments: dict[str, Any] | None = None
) -> Fitted:
    """Find a tensor of the file for each weight and statistic of a network.

    Integer tensors are counters and indices, which are never random, and may be missing.

    Args:
        content: What :func:`~ssl_dml.backbones.files.read_file` read: tensors by name, perhaps in
            sections.
        network: The network that takes them.
        arguments: Arguments that timm built it with; None for a network that is not of timm.

    Raises:
        ValueError: If the file lacks a tensor of the network, is of a network with more layers, or
            has values that are not finite; the message counts the tensors found and names one
            that is missing and one that is unused.
    """
    if is_jax(content):
        content = from_jax(content, arguments)
    own = network.state_dict()
    wanted = {name: value for name, value in own.items() if value.is_floating_point()}
    parts = sorted(find_parts(content, wanted), key=lambda part: part.preference)
    parts = parts or [Part("", "", {})]

    def complete(tried: list[tuple[Part, Tensors]]) -> list[tuple[Part, Tensors]]:
        whole = [(part, found) for part, found in tried if len(found) == len(wanted)]
        return [(part, found) for part, found in whole if not _deeper(part, wanted, own, network)]

    tried = [(part, _fit(part, wanted, network, arguments)) for part in parts]
    good = complete(tried)
    large = [part for part in parts if 2 * len(part.tensors) > len(wanted)][:6]
    if not good and arguments is not None:
        tried += [(part, _fitting(converted(part.tensors, arguments), wanted)) for part in large]
        good = complete(tried)
    if not good:
        inside = [group for part in large for group in groups(part, len(wanted))]
        renamed = [new for group in inside if (new := in_order(group, wanted, network))]
        good = complete([(part, _convert(part, wanted, network, arguments)) for part in renamed])
    if not good:
        best, found = max(tried, key=lambda one: len(one[1]))
        raise ValueError(_refusal(best, found, wanted, own, network))
    part, found = good[0]
    if bad := next((name for name, value in found.items() if not value.isfinite().all()), None):
        raise ValueError(f"{part.prefix}{bad} has values that are not finite")
    counters = {name: value for name, value in own.items() if name not in wanted}
    state = {**own, **_fitting(part.tensors, counters), **found}
    return Fitted(state, _report(part, len(wanted), own, good))


def _fit(
    part: Part, wanted: Tensors, network: nn.Module, arguments: dict[str, Any] | None
) -> Tensors:
    """The part's tensors that fit, the first convolution with the network's channels."""
    first = f"{_config(network).get('first_conv')}.weight"
    tensors = part.tensors
    if arguments is not None and first in tensors and first in wanted:
        kernel = with_channels(tensors[first], wanted[first], arguments.get("in_chans", 3))
        tensors = {**tensors, first: kernel}
    return _fitting(tensors, wanted)


def _convert(
    part: Part, wanted: Tensors, network: nn.Module, arguments: dict[str, Any] | None
) -> Tensors:
    """The part's tensors, converted by timm where shapes differ by more than channels."""
    found = _fit(part, wanted, network, arguments)
    if arguments is None or len(found) == len(wanted):
        return found
    return _fitting(converted(part.tensors, arguments), wanted)


def _deeper(part: Part, wanted: Tensors, own: Tensors, network: nn.Module) -> str | None:
    """A tensor of a further layer: an unused one in a part of the network whose names agree."""
    if not wanted.keys() <= part.tensors.keys():
        return None
    roots = {_root(name) for name in wanted}
    return next((n for n in _unused(part.tensors, own, network) if _root(n) in roots), None)


def _refusal(part: Part, found: Tensors, wanted: Tensors, own: Tensors, network: nn.Module) -> str:
    if adapter := next((name for name in part.tensors if ".lora_" in name), None):
        return (
            f"it holds adapters that are not merged ({adapter}); take the folder backbone of the "
            "run that made them, where they are"
        )
    missing = [name for name in wanted if name not in found]
    told = [f"{len(found)} of its {len(wanted)} tensors found"]
    share = f" ({len(found) / len(wanted):.0%} of the network is in the file)" if missing else ""
    if missing:
        name = _first_missing(missing, part.tensors, network)
        told.append(f"{name} missing{_sizes(name, part.tensors, own)}")
    unused = _unused(part.tensors, own, network)
    if unused:
        told.append(f"{_deeper(part, wanted, own, network) or unused[0]} of the file unused")
    return (
        f"{', '.join(told)}; set name, stem, width and options of the backbone to those of the "
        "weights, or give their tensors the names that timm has for "
        f"them{share}"
    )


def _report(part: Part, total: int, own: Tensors, complete: list[tuple[Part, Tensors]]) -> str:
    left = part.left + [
        name
        for name, value in part.tensors.items()
        if name not in own and value.is_floating_point()
    ]
    told = [f"all {total} tensors found{f' under {part.where}' if part.where else ''}"]
    told += [part.note] if part.note else []
    if left:
        groups_left = Counter(_root(name) for name in left).most_common()
        named = ", ".join(f"{group} {count}" for group, count in groups_left[:GROUPS])
        more = ", ..." if len(groups_left) > GROUPS else ""
        told += [f"left: {named}{more}", f"{len(left)} others of this section left"]
    also = [other.where or "the top" for other, _ in complete[1:] if other.where != part.where]
    told += [f"{', '.join(also[:3])} would fit too"] if also else []
    return "; ".join(told)


def _fitting(weights: Tensors, own: Tensors) -> Tensors:
    """Select the weights whose name and shape the network has."""
    return {
        name: weights[name]
        for name, value in own.items()
        if name in weights
        and weights[name].shape == value.shape
        and weights[name].is_floating_point() == value.is_floating_point()
    }


def _unused(weights: Tensors, own: Tensors, network: nn.Module) -> list[str]:
    """Name the weights of the file that the network lacks, except those of classifiers."""
    given = _config(network).get("classifier") or ()
    classifiers = {_root(name) for name in ((given,) if isinstance(given, str) else given)}
    return [
        name
        for name, value in weights.items()
        if name not in own and value.is_floating_point() and _root(name) not in classifiers
    ]


def _first_missing(missing: list[str], weights: Tensors, network: nn.Module) -> str:
    """Name one; not the first convolution if others are, as its channels can be adapted."""
    first = f"{_config(network).get('first_conv')}.weight"
    return next((name for name in missing if name != first or name not in weights), first)


def _config(network: nn.Module) -> dict[str, Any]:
    config: Any = getattr(network, "pretrained_cfg", {})
    return config


def _root(name: str) -> str:
    return name.partition(".")[0]


def _sizes(name: str, weights: Tensors, own: Tensors) -> str:
    if name not in weights or weights[name].shape == own[name].shape:
        return ""
    here, there = ("x".join(map(str, value.shape)) for value in (own[name], weights[name]))
    return f" ({here} here, {there} in the file)"
