"""Where in a file the tensors of a network may be: sections, and prefixes of names."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
DEEPEST = 3  # sections within sections
# Of several encoders in a file: its backbone by name, an averaged one or a teacher, the one that
# was trained, and only then a copy of it.
AVERAGED = {"ema", "teacher"}
COPIES = {"student", "momentum", "k", "key", "target", "optimizer"}


@dataclass(frozen=True)
class Part:
    """Tensors of one section of a file behind one prefix, by the rest of their names."""

    section: str
    prefix: str
    tensors: Tensors
    left: list[str] = field(default_factory=list[str])
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


def find_parts(content: Mapping[Any, Any], wanted: Tensors) -> Iterator[Part]:
    """Each section of a file, whole and behind each prefix under which the names are found."""
    for section, tensors in _sections(content, ""):
        seen = Counter(
            name[: -len(rest)]
            for name in tensors
            for rest in _suffixes(name)
            if rest in wanted and rest != name
        )
        prefixes = ["", *(p for p, n in seen.items() if 2 * n > len(wanted))]
        for prefix in prefixes:
            behind = {n[len(prefix) :]: v for n, v in tensors.items() if n.startswith(prefix)}
            yield Part(section, prefix, behind, _outside(tensors, prefix))


def _outside(tensors: Tensors, prefix: str) -> list[str]:
    """Names of the weights that do not begin with the prefix."""
    return [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not name.startswith(prefix)
    ]


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


def groups(part: Part, least: int) -> Iterator[Part]:
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
            left = part.left + _outside(part.tensors, prefix)
            yield Part(part.section, part.prefix + prefix, inside, left)
