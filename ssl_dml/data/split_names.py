"""Names of splits in their usual spellings: of folders, of files, in a column, in a data set."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ssl_dml.config import ConfigError

KINDS = {
    "train": "train training trn trainval",
    "test": "test testing tst testdev",
    "validation": "val valid validation validate dev devel development eval evaluation "
    "holdout heldout minival",
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words.split()}
# What stands beside the word of a split and says nothing about the samples.
BESIDE = (
    "set sets subset data dataset split splits fold folder dir part shard of all full final image "
    "images img imgs photo photos sample samples file files jpg jpeg png clean other large small "
    "public private standard"
)
FILLERS = frozenset(BESIDE.split())
HASH = re.compile(r"[0-9a-f]{16,}")
WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|[^\W\d_]+")
SHOWN = 4  # names in a message


@dataclass(frozen=True)
class SplitNames:
    """Names of one place, by what they are.

    Args:
        kinds: ``train``, ``test`` or ``validation`` for each name of a split.
        others: The names that are none.
    """

    kinds: dict[str, str]
    others: list[str]

    @property
    def train(self) -> list[str]:
        """Names of splits to train on."""
        return [name for name, kind in self.kinds.items() if kind == "train"]

    @property
    def test(self) -> list[str]:
        """Names of splits to test on: those of validation only if there is no other."""
        named = [name for name, kind in self.kinds.items() if kind == "test"]
        return named or [name for name, kind in self.kinds.items() if kind == "validation"]

    @property
    def unused(self) -> list[str]:
        """Names of splits that are neither trained nor tested on."""
        return [name for name in self.kinds if name not in {*self.train, *self.test}]


def split_names(names: Iterable[str], *, loose: bool = False) -> SplitNames:
    """Tell which names are those of splits.

    A name is one if it has a word such as train or val, and beside it only numbers, words such
    as images or set, or what names of other splits have too.

    >>> split_names(["Train-2017", "val2017"]).kinds
    {'Train-2017': 'train', 'val2017': 'validation'}
    >>> split_names(["seg_test", "seg_train", "seg_pred"]).others
    ['seg_pred']
    >>> split_names(["bullet_train", "test_tube"]).kinds
    {}

    Args:
        names: Names without suffix.
        loose: Whether the word of a split is enough, whatever stands beside it.
    """
    names = list(names)
    read = {name: _read(name) for name in names}
    kinds_beside: dict[str, set[str]] = {}
    for kind, rest in read.values():
        kinds_beside.setdefault(rest, set()).update([kind] if kind else [])
    kinds = {
        name: kind
        for name, (kind, rest) in read.items()
        if kind and (loose or not rest or len(kinds_beside[rest]) > 1)
    }
    return SplitNames(kinds, [name for name in names if name not in kinds])


def check_splits(
    found: SplitNames, where: str, *, things: str, remedy: str, split: str = "train"
) -> None:
    """Raise if names of splits stand among others, or none is there to train on.

    Args:
        found: The names.
        where: The place in messages.
        things: What the names are of, such as "sub-folders".
        remedy: What else could be given, such as "name one of the folders".
        split: The split that is wanted; without a train split there may be one to test on.

    Raises:
        ConfigError: Naming the place, some names of both sorts, and the remedy.
    """
    remedy = f"{remedy}, or set data.use_splits false if they are no splits"
    if found.others:
        raise ConfigError(
            f"data.source {where!r} mixes {things} that look like splits ({listed(found.kinds)}) "
            f"with others ({listed(found.others)}): {remedy}"
        )
    if not found.train and split == "train":
        raise ConfigError(
            f"data.source {where!r} has {things} to test on ({listed(found.kinds)}) and none to "
            f"train on: {remedy}"
        )


def notes_on(found: SplitNames, where: str = "") -> list[str]:
    """Sentences on which splits are used, for the user."""
    used = f"{where}splits by name: {listed(found.train)} to train on"
    used += f", {listed(found.test)} to test on" if found.test else ""
    unused = [*found.unused, *found.others]
    return [used + (f"; {listed(unused)} not used" if unused else "")]


def listed(names: Iterable[str]) -> str:
    """Write the first names of a list, and how many more there are.

    >>> listed("abcdef")
    'a, b, c, d and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name) for name in names[:SHOWN]) + more


def printable(name: str) -> str:
    r"""Write a name on one line, bytes that are no text as their codes.

    >>> printable("caf\udce9\n")
    'caf\\xe9\\n'
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _read(name: str) -> tuple[str, str]:
    """Kind of a name ("" if it has no word of a split), and its other words."""
    words = [word.lower() for word in WORD.findall(HASH.sub(" ", name))]
    words = _joined(words)
    found = {KIND_OF[word] for word in words if word in KIND_OF}
    rest = " ".join(w for w in words if w not in KIND_OF and w not in FILLERS)
    return next((kind for kind in KINDS if kind in found), ""), rest


def _joined(words: Sequence[str]) -> list[str]:
    """Words with "held out" as one, and "trainset" as "train"."""
    text = re.sub(r"\b(held|hold) out\b", "heldout", " ".join(words))
    endings = "|".join(FILLERS)
    return [
        match[1] if (match := re.fullmatch(rf"(.+?)(?:{endings})", word)) and match[1] in KIND_OF
        else word
        for word in text.split()
    ]  # fmt: skip
