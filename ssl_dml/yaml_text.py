"""YAML in which text stays text: what is written reads back as it was, of the same type."""

import re
from pathlib import Path
from typing import Any, final

import yaml
from jsonargparse import get_loader, set_dumper, set_loader
from jsonargparse.typing import register_type

from ssl_dml.types import ConfigError

_load = get_loader("yaml")  # knows 1e3 as a number and no dates, unlike YAML 1.1


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
        yaml.YAMLError: If it is no YAML.
    """
    # Half of a pair, as Python has names that are not in UTF-8, is an error to the faster loader.
    read = yaml.safe_load if re.search(r"\\u[dD][89a-fA-F]", text) else _load
    try:
        values = as_text(read(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error
    return text if values is None and text.strip() != "null" else values


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
        return load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error)).replace(' in "<unicode string>"', "")
        raise ConfigError(f"{path} is no YAML in UTF-8: {reason}") from error


class _Dumper(yaml.SafeDumper):
    """Quotes text that the loader would take for a number, such as 1e3."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[\d_]+[eE][-+]?\d+$"), list("-+0123456789")
)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unescaped, these are line breaks to a reader, which makes them spaces.
    broken = re.search("[\r\x85\u2028\u2029]", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if broken else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Text, _text)


def to_yaml(values: dict[str, Any]) -> str:
    """YAML text of plain values, which :func:`load` reads back as they were."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


# Of every parser, which writes and reads arguments of components once more on the way.
set_loader("yaml", load, (yaml.YAMLError,))
set_dumper("yaml", to_yaml)
