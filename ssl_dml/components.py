"""What a configuration may name: a class of the kind that is asked for, and nothing else."""

import difflib
import inspect
import math
import re
import sys
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser
from jsonargparse.typing import import_object
from torch.optim import Optimizer

from ssl_dml.trust import PackageError, check_package, imported
from ssl_dml.types import shown

SPEC = ("class_path", "init_args", "dict_kwargs")  # keys of a component
LARGEST = 2**63 - 1  # an integer of a tensor has 64 bits
# Modules of the types that hold or join others.
CONTAINERS = ("builtins", "collections", "collections.abc", "types", "typing")


def mistakes(parser: ArgumentParser, values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Names that a configuration must not hold, each in one line with its key and a remedy.

    Names are looked up, which imports their modules; nothing is called and nothing is built. A
    name must be that of a class that is not abstract and derives from the type of its field: from
    the class itself, from what a callable returns, or from the elements of a collection. The same
    goes for the arguments of each class that is named. Where any value will do, all is data.

    Args:
        parser: Knows the keys of the configuration and their types.
        values: Values of its keys; components are dictionaries with ``class_path``.
        prefix: Stands before the keys.
    """
    for section in parser.groups or {}:
        if _at(values, f"{section}.class_path") is not None:
            yield f"{prefix}{section}.class_path is not a key; leave it out"
        if _at(values, section, absent=section) is None:
            yield f"{prefix}{section} must not be null; leave it out to keep the defaults"
    for action in parser._actions:
        value = _at(values, action.dest, absent=action.default)
        hint = getattr(action, "_typehint", None)
        if hint is not None and not _same(value, action.default):
            if value is None and not _takes_null(hint):  # which the parser takes for not given
                yield f"{prefix}{action.dest} must not be null; leave it out to keep the default"
            yield from _beyond_numbers(value, f"{prefix}{action.dest}")
            yield from _within(value, hint, f"{prefix}{action.dest}")


def parser_of(cls: type) -> ArgumentParser:
    """Knows the arguments of a class, also those that it passes on."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, fail_untyped=False)
    return parser


def _at(values: Any, key: str, absent: Any = None) -> Any:  # noqa: ANN401 - as found in the file
    """Value of a dotted key; ``absent`` where there is none."""
    for name in key.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return absent
        values = values[name]
    return values


def _same(value: Any, default: Any) -> bool:  # noqa: ANN401
    """Whether a value is the one that the author of a class gave; a function may be its path."""
    if callable(value) and isinstance(default, str):
        with suppress(ImportError, AttributeError, ValueError):
            return import_object(default, check_path=False) is value
    return value is default or (isinstance(value, str) and value == default)


def _beyond_numbers(value: Any, key: str) -> Iterator[str]:  # noqa: ANN401
    """Numbers in a value that no setting can have: NaN, infinities, and what 64 bits cannot hold.

    Those among the arguments of a component come with its own keys.
    """
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{key} must be a finite number, got {value}"
    elif isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        yield f"{key} must be within {LARGEST} and its negative, got {shown(value)}"
    elif isinstance(value, Mapping) and "class_path" not in value:
        for name, one in value.items():
            yield from _beyond_numbers(one, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            yield from _beyond_numbers(one, f"{key}.{place}")


def _within(value: Any, hint: Any, key: str) -> Iterator[str]:  # noqa: ANN401
    """Mistakes in the value of one argument of this type."""
    leaves = list(_leaves(hint))
    kinds = tuple(leaf for leaf in leaves if _is_kind(leaf))
    if not kinds:
        return
    if isinstance(value, Mapping) and "class_path" in value:
        yield from _component(value, kinds, key)
    elif isinstance(value, Mapping) and not _is_mapping(hint):
        for kind in kinds:  # the only class there may be has its arguments without its name
            yield from mistakes(parser_of(kind), value, f"{key}.")
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, one in items:
            yield from _within(one, hint, f"{key}.{name}")
    elif callable(value) or (isinstance(value, str) and all(map(_is_component, leaves))):
        try:
            find_class(value, kinds)
        except ValueError as error:
            yield f"{key}: {error}"


def _component(value: Mapping[str, Any], kinds: tuple[type, ...], key: str) -> Iterator[str]:
    """Mistakes in the name of a class and in its arguments, which may stand beside the name."""
    try:
        found = find_class(value["class_path"], kinds)
    except ValueError as error:
        yield f"{key}.class_path: {error}"
    else:
        arguments, parser = value.get("init_args") or {}, parser_of(found)
        if not isinstance(arguments, Mapping):
            yield f"{key}.init_args must be keys with values, got {arguments!r}"
            return
        known = dict.fromkeys(action.dest.partition(".")[0] for action in parser._actions)
        for name in {**arguments, **value}:
            if str(name).partition(".")[0] not in (*known, *SPEC):
                close = difflib.get_close_matches(str(name), known, n=1)
                own = (one for one in known if one != "help" and one not in _given(found))
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(own)}"
                yield f"{key}.init_args.{name} is not an argument of {value['class_path']}; {hint}"
        yield from mistakes(parser, {**arguments, **value}, f"{key}.init_args.")


def _given(cls: type) -> list[str]:
    """Arguments of a class that the toolkit gives, such as the backbone of a method."""
    found = inspect.signature(cls).parameters.values()
    return [one.name for one in found if one.kind != one.KEYWORD_ONLY and one.default is one.empty]


def find_class(name: Any, kinds: tuple[type, ...]) -> type:  # noqa: ANN401
    """The class of a name, which is a dotted path or the last part of a known one.

    Raises:
        ValueError: If it is no class of these kinds that can be built: what it is, and a remedy;
            or if it is of a package that may not be named.
    """
    found: Any = name
    text = (name or "''") if isinstance(name, str) else getattr(name, "__qualname__", repr(name))
    if isinstance(name, str):
        known = {cls.__name__: cls for cls in _subclasses(kinds)}
        try:
            found = known.get(name) or imported(name)
        except PackageError:
            raise
        except (ImportError, AttributeError, ValueError) as error:
            reason = re.sub(r"\s+", " ", str(error))
            raise ValueError(
                f"{text} cannot be imported ({reason}); {_remedy(text, kinds)}"
            ) from error
    if wrong := _wrong(found, kinds):
        raise ValueError(f"{text} is {wrong}; {_remedy(text, kinds)}")
    check_package(f"{found.__module__}.{found.__qualname__}")
    return found


def _wrong(found: Any, kinds: tuple[type, ...]) -> str:  # noqa: ANN401
    """What an object is that must not be named; nothing if it may be."""
    if inspect.ismodule(found):
        return "a module"
    if inspect.isroutine(found):
        return "a function"
    if not inspect.isclass(found):
        return "no class"
    if not any(kind in inspect.getmro(found) for kind in kinds):
        return f"no {_names(kinds)}"
    return "abstract" if _is_abstract(found) else ""


def _is_abstract(cls: type) -> bool:
    """Whether a class is only there to derive from; torch does not say so of its own."""
    return inspect.isabstract(cls) or ABC in cls.__bases__ or cls is Optimizer


def _remedy(name: str, kinds: tuple[type, ...]) -> str:
    """What to write instead."""
    if not all(map(_is_component, kinds)):
        return "leave it out"
    paths = [path for cls in _subclasses(kinds) if cls not in kinds and (path := _path(cls))]
    close = difflib.get_close_matches(name, paths, n=1, cutoff=0.0)
    example = f", such as {close[0]}" if close else ""
    return f"name a subclass of {_names(kinds)}{example}"


def _names(kinds: tuple[type, ...]) -> str:
    return " or ".join(dict.fromkeys(kind.__name__ for kind in kinds))


def _subclasses(kinds: tuple[type, ...]) -> Iterator[type]:
    """Classes of these kinds that have been imported and can be built."""
    for kind in kinds:
        if not _is_abstract(kind):
            yield kind
        yield from _subclasses(tuple(kind.__subclasses__()))


def _path(cls: type) -> str | None:
    """Shortest dotted path of a class; None for one that has no public one."""
    parts = cls.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        if getattr(sys.modules.get(module), cls.__name__, None) is cls:
            path = f"{module}.{cls.__name__}"
            return None if "._" in path else path
    return None


def _leaves(hint: Any) -> Iterator[Any]:  # noqa: ANN401
    """Types that a value may be of, or what it holds or returns; without that of None."""
    hint = getattr(hint, "__value__", getattr(hint, "__supertype__", hint))  # names of types
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner = inner[:1]
    elif origin is Callable or _is_mapping(origin):
        inner = inner[-1:]
    if origin is Callable and not any(_is_kind(leaf) for one in inner for leaf in _leaves(one)):
        yield Callable
    elif inner and origin is not type and origin.__module__ in CONTAINERS:
        for one in inner:
            yield from _leaves(one)
    elif hint not in (type(None), ...):
        yield origin or hint


def _takes_null(hint: Any) -> bool:  # noqa: ANN401
    """Whether None is a value of a type, or any value will do."""
    hint = getattr(hint, "__value__", getattr(hint, "__supertype__", hint))
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _takes_null(inner[0])
    if origin in (Union, UnionType):
        return any(map(_takes_null, inner))
    if origin is Literal:
        return None in inner
    return hint in (Any, object, type(None)) or not inspect.isclass(origin or hint)


def _is_mapping(hint: Any) -> bool:  # noqa: ANN401
    """Whether a type, or one of a union, holds others by name."""
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return any(map(_is_mapping, get_args(hint)))
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def _is_kind(leaf: Any) -> bool:  # noqa: ANN401
    """Whether a value of this type is built from the name of a class and arguments."""
    if not inspect.isclass(leaf) or leaf is Any or leaf.__module__ == "builtins":
        return False
    return not issubclass(leaf, (Path, Enum))


def _is_component(leaf: Any) -> bool:  # noqa: ANN401
    """Whether text in the place of this type can only be the name of a class."""
    library = _is_kind(leaf) and leaf.__module__.partition(".")[0] in sys.stdlib_module_names
    return _is_kind(leaf) and not library and not is_dataclass(leaf)
