"""What is wrong with values of a configuration, or keeps them from being built, in one line."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser

from ssl_dml.components import (
    _at,
    _is_kind,
    _is_mapping,
    _leaves,
    find_class,
    parser_of,
)
from ssl_dml.reading import raised_here
from ssl_dml.types import ConfigError, one_line, shown

NAMES = {type(None): "null", Path: "a path"}


def misfits(parser: ArgumentParser, values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Values that are not of the type of their key, each in one line, as :func:`mistakes`."""
    for section in parser.groups or {}:
        value = _at(values, section)
        if value is not None and not isinstance(value, Mapping):
            yield f"{prefix}{section} is a section of keys, and must not be {shown(value)}"
    for action in parser._actions:
        hint, key = getattr(action, "_typehint", None) or action.type, f"{prefix}{action.dest}"
        value = _at(values, action.dest, absent=action)
        if hint is None or value is action:
            continue
        kinds = tuple(filter(_is_kind, _leaves(hint)))
        if kinds and isinstance(value, Mapping):
            yield from _inner_misfits(value, kinds, key)
        elif kinds and value is None and type(None) not in get_args(hint):
            yield f"{key} must name a class, and not be null; leave it out to keep what is given"
        elif not _fits(hint, value):
            yield f"{key}: expected {type_name(hint)}, got {shown(value)}"


def _inner_misfits(value: Mapping[str, Any], kinds: tuple[type, ...], key: str) -> Iterator[str]:
    if "class_path" not in value:
        for kind in kinds:
            yield from misfits(parser_of(kind), value, f"{key}.")
        return
    with suppress(ValueError):  # of which mistakes() tells
        parser = parser_of(find_class(value["class_path"], kinds))
        given = {**(value.get("init_args") or {}), **value}
        yield from misfits(parser, given, f"{key}.init_args.")


def building(value: Any, key: str) -> Any:  # noqa: ANN401
    """A component of the configuration, which tells in a line why it cannot be built.

    What this package raises by mistake is a bug, and keeps its traceback.
    """
    if not callable(value):
        return value

    def build(*args: Any) -> Any:  # noqa: ANN401
        """Build it, or tell."""
        try:
            return value(*args)
        except ConfigError:
            raise
        except Exception as error:
            if raised_here(error) and not isinstance(error, ValueError):
                raise
            reason = one_line(error)
            prefix = f"{key}: " if key and not reason.startswith(key) else ""
            raise ConfigError(prefix + reason) from error

    return build


def _fits(hint: Any, value: Any) -> bool:  # noqa: ANN401
    """Whether a parser takes a value for a type; plain text as it was typed on a command line."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        if type(value) is str:
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def type_name(hint: Any) -> str:  # noqa: ANN401
    """A type as a user may know it.

    >>> type_name(int | tuple[int, int] | None), type_name(Path)
    ('int or [int, int] or null', 'a path')
    """
    hint = getattr(hint, "__value__", getattr(hint, "__supertype__", hint))
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_name(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(type_name, inner)))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inner))}]"
    if _is_mapping(hint) or is_dataclass(hint):
        return "keys with values"
    if inner:
        return f"[{', '.join('...' if one is ... else type_name(one) for one in inner)}]"
    return NAMES.get(hint) or getattr(hint, "__name__", str(hint))
