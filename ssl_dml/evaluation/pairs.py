"""Pairs of rows to verify: those of a file, drawn ones, or all."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ssl_dml.reading import read_text, reading
from ssl_dml.types import ConfigError, shown

MOST = 2**28  # bytes of a file of pairs
FOLDS = 10
SAME = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, kw_only=True)
class PairList:
    """Pairs of rows of a table.

    Args:
        first: One row of each pair.
        second: The other.
        same: Whether both are of one identity.
        folds: Number of the fold of each; None if there are none.
    """

    first: Int[Tensor, " pairs"]
    second: Int[Tensor, " pairs"]
    same: Bool[Tensor, " pairs"]
    folds: Sequence[int] | None = None


def read_pairs(path: Path, names: Sequence[str]) -> PairList:
    """Pairs of a file, found by name.

    Args:
        path: Lines of ``path,path,same`` with 1 or 0, where a fourth value is the fold and a
            header may stand above; or ``pairs.txt`` of Labeled Faces in the Wild. Without folds,
            ten of consecutive pairs are made.
        names: Path of each row.

    Raises:
        ConfigError: Naming file and line, if a line is no pair or no row has its path.
    """
    with reading(f"pairs {str(path)!r}", "name a file of path,path,same"):
        text = read_text(path, MOST)
        first = text.partition("\n")[0]
        rows = list(csv.reader(text.splitlines())) if "," in first else None
    if rows is None:
        return _lfw(path, text.splitlines(), names)
    if rows[0][2:3] and rows[0][2].strip().lower() not in SAME:
        rows[0] = []  # a header
    at, found, folds = {name: i for i, name in enumerate(names)}, list[tuple[int, int, bool]](), []
    for line, row in enumerate(rows, start=1):
        if not row:
            continue
        values = [value.strip() for value in row]
        if len(values) not in (3, 4) or values[2].lower() not in SAME:
            raise ConfigError(
                f"{path}, line {line}: must be path,path,same with 1 or 0, got {shown(row)}"
            )
        one, two = (_row(at, value, path, line) for value in values[:2])
        found.append((one, two, SAME[values[2].lower()]))
        folds += values[3:]
    if len(folds) not in (0, len(found)):
        raise ConfigError(f"{path}: {len(folds):,} of {len(found):,} pairs have a fold; name all")
    number = {fold: i for i, fold in enumerate(dict.fromkeys(folds))}
    return _listed(path, found, [number[fold] for fold in folds])


def _lfw(path: Path, lines: Sequence[str], names: Sequence[str]) -> PairList:
    """Folds of pairs of one name, then of two, after a line with the numbers of both."""
    words = lines[0].split() if lines else []
    if not words or not all(word.isdigit() for word in words):
        raise ConfigError(f"{path}, line 1: must be path,path,same, or numbers of folds and pairs")
    at = {
        "/".join(PurePosixPath(name).with_suffix("").parts[-2:]): i for i, name in enumerate(names)
    }
    each, found = 2 * int(words[-1]), list[tuple[int, int, bool]]()
    for line, text in enumerate(lines[1:], start=2):
        parts = re.fullmatch(r"(\S+)\s+(\d+)\s+(?:(\S+)\s+)?(\d+)\s*", text)
        if parts is None:
            raise ConfigError(
                f"{path}, line {line}: must be name number number, or name number name number, "
                f"got {shown(text)}"
            )
        one, number, two, other = parts.groups()
        paths = [f"{name}/{name}_{int(n):04d}" for name, n in ((one, number), (two or one, other))]
        first, second = (_row(at, name, path, line) for name in paths)
        found.append((first, second, two is None))
    return _listed(path, found, [i // max(1, each) for i in range(len(found))])


def _row(at: Mapping[str, int], name: str, path: Path, line: int) -> int:
    if name not in at:
        raise ConfigError(
            f"{path}, line {line}: no sample has the path {shown(name)}; "
            f"they are as {shown(next(iter(at), ''))}"
        )
    return at[name]


def _listed(path: Path, found: Sequence[tuple[int, ...]], folds: Sequence[int]) -> PairList:
    if not found:
        raise ConfigError(f"{path} has no pairs; name a file of path,path,same")
    first, second, same = torch.tensor(found).unbind(dim=1)
    if len(set(folds)) <= 1:
        folds = [i * FOLDS // len(found) for i in range(len(found))]
    return PairList(first=first, second=second, same=same.bool(), folds=folds)


def drawn_pairs(labels: Int[Tensor, " rows"], count: int, *, seed: int = 0) -> PairList:
    """As many genuine as impostor pairs, drawn with replacement, in ten folds.

    Each genuine pair has the same chance, and each impostor pair.

    Args:
        labels: Identity of each row.
        count: Pairs of each kind.
        seed: Of the draws.

    Raises:
        ValueError: If there are no pairs of one kind.

    >>> pairs = drawn_pairs(torch.tensor([0, 0, 1]), 20)
    >>> int(pairs.same.sum()), len(pairs.same), len(set(pairs.folds))
    (20, 40, 10)
    """
    order = labels.argsort(stable=True)
    _, sizes = labels[order].unique_consecutive(return_counts=True)
    if not (len(sizes) > 1 and int(sizes.max()) > 1):
        raise ValueError("pairs need two rows of one identity and a second identity")
    starts = sizes.cumsum(dim=0) - sizes
    generator = torch.Generator().manual_seed(seed)

    def below(limit: Tensor) -> Tensor:
        """A number from 0 to below each limit."""
        part = torch.rand(len(limit), generator=generator, dtype=torch.double)
        return (part * limit).long().clamp(max=limit - 1)

    def weighted(weights: Tensor) -> Tensor:
        ends = weights.double().cumsum(dim=0)
        part = torch.rand(count, generator=generator, dtype=torch.double) * ends[-1]
        return torch.searchsorted(ends, part, right=True).clamp(max=len(ends) - 1)

    own = weighted(sizes * (sizes - 1))
    one = below(sizes[own])
    two = (one + 1 + below(sizes[own] - 1)) % sizes[own]
    genuine = order[starts[own] + one], order[starts[own] + two]
    # Of all rows after those of the identity, going round.
    own = weighted(sizes * (len(labels) - sizes))
    one = starts[own] + below(sizes[own])
    two = (starts[own] + sizes[own] + below(len(labels) - sizes[own])) % len(labels)
    first, second = torch.cat([genuine[0], order[one]]), torch.cat([genuine[1], order[two]])
    folds = (torch.arange(count) % FOLDS).repeat(2).tolist()
    return PairList(first=first, second=second, same=labels[first] == labels[second], folds=folds)
