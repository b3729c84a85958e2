"""YAML in which text stays text: what is written reads back as it was, of the same type."""

import re
from pathlib import Path
from typing import Any, final

import yaml
from jsonargparse import get_loader, set_dumper, set_loader
from jsonargparse.typing import register_type

from ssl_dml.reading import read_text
from ssl_dml.types import ConfigError, one_line

_load = get_loader("yaml")  # knows 1e3 as a number and no dates, unlike YAML 1.1
MOST_BYTES, MOST_VALUES = 1 << 20, 10_000
MERGE = "<<"


@final
class Text(str):
    """What YAML has found to be text, which the parser must not take for YAML once more.

    The parser reads each plain ``str`` as YAML, since that of a command line may be a number or
    null; that of a file has been read.
    """

    __slots__ = ()


register_type(Text, serializer=Text)


def load(text: str) -> Any:  # noqa: ANN401 - whatever the text says
    """Plain values of a file or of one value of a command line.

    >>> load("[null, 'null', 1e3, '1e3']")
    [None, 'null', 1000.0, '1e3']

    On a command line ``null`` alone is null. Whatever else would be nothing in YAML is text:

    >>> load("null"), load("~"), load("&a"), load("#1")
    (None, '~', '&a', '#1')

    Raises:
        yaml.YAMLError: If it is no YAML, gives a key twice, or holds more than 10,000 values.
    """
    # Half of a pair, as Python has names that are not in UTF-8, is an error to the faster loader.
    halves = re.search(r"\\u[dD][89a-fA-F]", text)
    try:
        _check(text, yaml.SafeLoader if halves else getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        values = as_text(yaml.safe_load(text) if halves else _load(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error
    return text if values is None and text.strip() != "null" else values


def _check(text: str, loader: type[Any]) -> None:
    """Raise before anything is built of what would grow without bound, or of keys given twice."""
    if len(text) > MOST_BYTES:
        raise yaml.YAMLError(f"it has {len(text):,} characters; at most {MOST_BYTES:,} are read")
    node = yaml.compose(text, Loader=loader)
    if node is not None and (size := _size(node, {})) > MOST_VALUES:
        raise yaml.YAMLError(f"it holds {size:,} values, and at most {MOST_VALUES:,} are read")


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values below a node, where each alias counts as all that it stands for.

    Args:
        node: A node without a loop; a loop is a ``RecursionError``.
        known: Sizes of nodes, by their identity.
    """
    if id(node) not in known:
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(node)
            inside = [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        known[id(node)] = 1 + sum(_size(one, known) for one in inside)
    return known[id(node)]


def _refuse_twice(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value == MERGE:
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            first = lines[key.value]
            where = f"in line {line}" if line == first else f"in lines {first} and {line}"
            raise yaml.YAMLError(f"{key.value} is given twice, {where}; leave one of them out")
        lines[key.value] = line


def as_text(values: Any) -> Any:  # noqa: ANN401
    """Plain values whose text stays text, also as keys."""
    if isinstance(values, dict):
        return {Text(key): as_text(value) for key, value in values.items()}
    if isinstance(values, list):
        return [as_text(value) for value in values]
    return Text(values) if isinstance(values, str) else values


def read_yaml(path: Path) -> Any:  # noqa: ANN401
    """Plain values of a file.

    Raises:
        ConfigError: Naming the file, if it is no YAML, or not in UTF-8.
    """
    try:
        return load(read_text(path, MOST_BYTES))
    except (yaml.YAMLError, ValueError) as error:
        reason = re.sub(r' in "<[^"]*>",', " in", one_line(error, words=60))
        reason = f"it {reason}" if reason.startswith(("is ", "has ")) else reason
        raise ConfigError(f"{path} is no YAML in UTF-8: {reason}") from error


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would take for a number, such as 1e3."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[\d_]+[eE][-+]?\d+$"), list("-+0123456789")
)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unescaped, these are line breaks to a reader, which makes them spaces; and readers differ in
    # what they take for a number, as one does ._
    broken = re.search("[\r\x85\u2028\u2029]", text) or re.fullmatch(r"[-+._:\deE]+", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if broken else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Text, _text)


def to_yaml(values: dict[str, Any]) -> str:
    """YAML text of plain values, which :func:`load` reads back as they were."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


# Of every parser, which writes and reads arguments of components once more on the way.
set_loader("yaml", load, (yaml.YAMLError,))
set_dumper("yaml", to_yaml)
