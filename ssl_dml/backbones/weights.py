"""Fit the tensors of a foreign file to a network: every one of them, or an error.

A file rarely names its tensors as a network does. Three ways are tried, in this order:

1. *A prefix*: the names of the network behind ``module.encoder_q.``, ``backbone.`` or any other,
   in any section of the file.
2. *timm's own conversion*: names of the authors' code, another image size, other channels.
3. *The same order*: other names of the same kinds and shapes, one after the other.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_dml.backbones.conversion import converted

Tensors = dict[str, Tensor]
DEEPEST = 3  # sections within sections
CLASSIFIER = 2  # tensors of a classifier at the end of a file: weight and bias
KINDS = ("weight", "bias", "running_mean", "running_var")
# Of several encoders in a file: its backbone by name, an averaged one or a teacher, the one that
# was trained, and only then a copy of it.
AVERAGED = {"ema", "teacher"}
COPIES = {"student", "momentum", "k", "key", "target", "optimizer"}


@dataclass(frozen=True)
class Fitted:
    """A state dict for a network, and how it came about.

    Args:
        state: Every tensor of the network.
        report: One line: how many tensors were found, where, and what was left.
    """

    state: Tensors
    report: str


@dataclass(frozen=True)
class _Part:
    """Tensors of one section of a file behind one prefix, by the rest of their names."""

    section: str
    prefix: str
    tensors: Tensors
    others: int = 0
    note: str = ""

    @property
    def where(self) -> str:
        """The section and the prefix, in words."""
        return " ".join(filter(None, (self.section, self.prefix)))

    @property
    def preference(self) -> int:
        """Rank among several encoders, from 0 for the first."""
        words = set(re.split(r"[\W_]+", self.where.lower()))
        if words & COPIES:
            return 3
        if self.prefix.startswith("backbone."):
            return 0
        return 1 if words & AVERAGED else 2


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
    own = network.state_dict()
    wanted = {name: value for name, value in own.items() if value.is_floating_point()}
    parts = sorted(_parts(content, wanted), key=lambda part: part.preference)
    parts = parts or [_Part("", "", {})]

    def complete(tried: list[tuple[_Part, Tensors]]) -> list[tuple[_Part, Tensors]]:
        whole = [(part, found) for part, found in tried if len(found) == len(wanted)]
        return [(part, found) for part, found in whole if not _deeper(part, wanted, own, network)]

    tried = [(part, _fitting(part.tensors, wanted)) for part in parts]
    good = complete(tried)
    large = [part for part in parts if 2 * len(part.tensors) > len(wanted)][:6]
    if not good and arguments is not None:
        tried += [(part, _fitting(converted(part.tensors, arguments), wanted)) for part in large]
        good = complete(tried)
    if not good:
        groups = [group for part in large for group in _groups(part, len(wanted))]
        renamed = [new for group in groups if (new := _in_order(group, wanted, network))]
        good = complete([(part, _fit(part, wanted, arguments)) for part in renamed])
    if not good:
        best, found = max(tried, key=lambda one: len(one[1]))
        raise ValueError(_refusal(best, found, wanted, own, network))
    part, found = good[0]
    if bad := next((name for name, value in found.items() if not value.isfinite().all()), None):
        raise ValueError(f"{part.prefix}{bad} has values that are not finite")
    counters = {name: value for name, value in own.items() if name not in wanted}
    state = {**own, **_fitting(part.tensors, counters), **found}
    return Fitted(state, _report(part, len(wanted), own, good))


def _fit(part: _Part, wanted: Tensors, arguments: dict[str, Any] | None) -> Tensors:
    """The part's tensors, converted by timm where shapes differ."""
    found = _fitting(part.tensors, wanted)
    if arguments is None or len(found) == len(wanted):
        return found
    return _fitting(converted(part.tensors, arguments), wanted)


def _parts(content: Mapping[Any, Any], wanted: Tensors) -> Iterator[_Part]:
    """Each section of a file, whole and behind each prefix under which the names are found."""
    for section, tensors in _sections(content, ""):
        count = sum(value.is_floating_point() for value in tensors.values())
        seen = Counter(
            name[: -len(rest)]
            for name in tensors
            for rest in _suffixes(name)
            if rest in wanted and rest != name
        )
        prefixes = ["", *(p for p, n in seen.items() if 2 * n > len(wanted))]
        for prefix in prefixes:
            behind = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
            inside = sum(value.is_floating_point() for value in behind.values())
            yield _Part(section, prefix, behind, count - inside)


def _sections(content: Mapping[Any, Any], name: str) -> Iterator[tuple[str, Tensors]]:
    tensors = {str(k): v.detach() for k, v in content.items() if torch.is_tensor(v)}
    if tensors:
        yield name, tensors
    for key, value in content.items():
        if isinstance(value, Mapping) and name.count(".") < DEEPEST:
            yield from _sections(value, f"{name}.{key}".lstrip("."))


def _suffixes(name: str) -> Iterable[str]:
    words = name.split(".")
    return (".".join(words[i:]) for i in range(len(words)))


def _groups(part: _Part, least: int) -> Iterator[_Part]:
    """The part itself, and what of it shares the first names, such as ``backbone.``."""
    seen = Counter(
        ".".join(name.split(".")[:depth]) + "."
        for name, value in part.tensors.items()
        for depth in range(1, DEEPEST + 1)
        if value.is_floating_point()
    )
    total = sum(value.is_floating_point() for value in part.tensors.values())
    yield part
    for prefix, count in seen.items():
        outer = seen.get(f"{prefix[:-1].rpartition('.')[0]}.", total)
        if least <= count < outer:
            inside = {n: v for n, v in part.tensors.items() if n.startswith(prefix)}
            others = part.others + total - count
            yield _Part(part.section, part.prefix + prefix, inside, others)


def _in_order(part: _Part, wanted: Tensors, network: nn.Module) -> _Part | None:
    """The same tensors under the network's names, if kinds and shapes agree one by one.

    A classifier may follow. The first convolution may have other channels, and positions another
    size, which timm converts.
    """
    given = [(n, v) for n, v in part.tensors.items() if v.is_floating_point()]
    if not 0 <= len(given) - len(wanted) <= CLASSIFIER:
        return None
    flexible = {f"{_config(network).get('first_conv')}.weight", "pos_embed"}
    for (name, value), (theirs, tensor) in zip(wanted.items(), given, strict=False):
        same = value.shape == tensor.shape or (name in flexible and value.ndim == tensor.ndim)
        if _kind(name) != _kind(theirs) or not same:
            return None
    if any(_kind(name) not in ("weight", "bias") for name, _ in given[len(wanted) :]):
        return None
    first, theirs = next(iter(wanted)), given[0][0]
    renamed = {name: tensor for name, (_, tensor) in zip(wanted, given, strict=False)}
    note = f"names differ and order and shapes agree: {first} is {theirs}"
    return _Part(part.section, part.prefix, renamed, part.others + len(given) - len(wanted), note)


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in KINDS else "other"


def _deeper(part: _Part, wanted: Tensors, own: Tensors, network: nn.Module) -> str | None:
    """A tensor of a further layer: an unused one in a part of the network whose names agree."""
    if not wanted.keys() <= part.tensors.keys():
        return None
    roots = {_root(name) for name in wanted}
    return next((n for n in _unused(part.tensors, own, network) if _root(n) in roots), None)


def _refusal(part: _Part, found: Tensors, wanted: Tensors, own: Tensors, network: nn.Module) -> str:
    missing = [name for name in wanted if name not in found]
    told = [f"{len(found)} of its {len(wanted)} tensors found"]
    if missing:
        name = _first_missing(missing, part.tensors, network)
        told.append(f"{name} missing{_sizes(name, part.tensors, own)}")
    unused = _unused(part.tensors, own, network)
    if unused:
        told.append(f"{_deeper(part, wanted, own, network) or unused[0]} of the file unused")
    return (
        f"{', '.join(told)}; set name, stem, width and options of the backbone to those of the "
        "weights, or give their tensors the names that timm has for them"
    )


def _report(part: _Part, total: int, own: Tensors, complete: list[tuple[_Part, Tensors]]) -> str:
    left = part.others + sum(
        value.is_floating_point() for name, value in part.tensors.items() if name not in own
    )
    told = [f"all {total} tensors found{f' under {part.where}' if part.where else ''}"]
    told += [part.note] if part.note else []
    told += [f"{left} others of this section left"] if left else []
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
