"""YAML and the command line become a frozen dataclass; mistakes become one line."""

import difflib
import inspect
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import import_object
from tqdm import tqdm

from ssl_dml.types import ConfigError, NonFiniteError

Schema = TypeVar("Schema")
PACKAGE = Path(__file__).parent
# What the parser says of a mistake within a section that may be null; the rest is of the null.
OPTIONAL_SECTION = (
    r"""Parser key "([\w.]+)": .*given class_path '([\w.]+)': """
    r"""(Option|Parser key) ['"](\w+)['"](.*) - Expected a <class 'NoneType'> Given value type"""
)


def parse(
    schema: type[Schema],
    args: Sequence[str] | None = None,
    *,
    default: Path | None = None,
    either: tuple[str, str] | None = None,
) -> tuple[Schema, str]:
    """Fill a dataclass from ``--config FILE`` and ``--section.field value``.

    Nothing is built: component fields become callables that build when they are called.

    Args:
        schema: Frozen dataclass whose fields are the keys.
        args: Command line without the program; None for that of this process.
        default: File that serves when no ``--config`` is given; None for the schema's own values.
        either: Two keys of which the command line's unsets the other of the file.

    Returns:
        The filled dataclass, and the YAML text that fills it again the same way.

    Raises:
        ConfigError: In one line, what is wrong with which key and what would be right.
    """
    args = list(sys.argv[1:] if args is None else args)
    given = {arg.partition("=")[0].removeprefix("--") for arg in args}
    if "config" not in given and default is not None:
        args = ["--config", str(default), *args]
    args = _files_first(args)
    if either is not None and len(given & {*either}) == 1:
        args.append(f"--{next(key for key in either if key not in given)}=null")
    parser = ArgumentParser(description=schema.__doc__, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of these keys")
    parser.add_class_arguments(schema)
    try:
        namespace = parser.parse_args(args)
    except ArgumentError as error:
        keys = [action.dest for action in parser._actions if action.dest]
        raise ConfigError(_explain(str(error), keys)) from error
    text = parser.dump(namespace, skip_unset=False)
    values: Any = parser.instantiate(namespace)
    return schema(**{field.name: values[field.name] for field in fields(schema)}), text  # pyright: ignore[reportArgumentType]


def _files_first(args: list[str]) -> list[str]:
    """Configuration files before the keys, which override them wherever they were written."""
    files: list[str] = []
    keys: list[str] = []
    for position, arg in enumerate(args):
        named = arg.startswith("--config=") or "--config" in (arg, *args[position - 1 : position])
        (files if named else keys).append(arg)
    return files + keys


def fill(schema: type[Schema], values: dict[str, Any]) -> Schema:
    """Fill a dataclass from one section of a configuration.

    Raises:
        ConfigError: In one line, what is wrong with which key.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(schema)
    try:
        namespace: Any = parser.instantiate(parser.parse_object(values))
    except ArgumentError as error:
        raise ConfigError(_explain(str(error), values)) from error
    return schema(**vars(namespace))


def component(text: str, key: str) -> tuple[str, dict[str, Any]]:
    """Dotted path and constructor arguments of a component in a resolved YAML text."""
    node = yaml.safe_load(text)[key]
    return node["class_path"], node.get("init_args") or {}


def _explain(message: str, keys: Iterable[str]) -> str:  # noqa: PLR0911 - one return a case
    """One line from the parser's many: the key, the value, what was expected."""
    message = _of_optional_section(re.sub(r"\s+", " ", message).strip())
    if found := re.search(r"unrecognized arguments: --([\w.]+)", message):
        return f"--{found[1]} is not a key{_nearest(found[1], keys)}"
    if found := re.search(r"Group '([\w.]+)' does not accept option '(\w+)'", message):
        name = f"{found[1]}.{found[2]}"
        return f"{name} is not a key{_nearest(name, keys)}"
    if found := re.search(r"Option '([\w.]+)' is not accepted.*class_path='([\w.]+)'", message):
        target: Any = import_object(found[2])
        known = inspect.signature(target).parameters
        hint = _nearest(found[1].rpartition(".")[2], known)
        return f"{found[1]} is not an argument of {found[2]}{hint}"
    if found := re.search(r"^Option '([\w.]+)' is not accepted", message):
        return f"{found[1]} is not a key{_nearest(found[1], keys)}"
    if found := re.search(r'Parser key "([\w.]+)": (.*)', message):
        key, rest = found.groups()
        value = re.findall(r"(?:Got value|Given value): (.*?)$", rest)
        expected = re.findall(r"Expected an? (<class '[^']*'>|[\w.]+\[.*?\])", rest)
        if value and expected:
            types = " or ".join(dict.fromkeys(_type_name(one) for one in expected))
            return f"{key}: expected {types}, got {value[-1]!r}"
        if missing := re.search(r"File does not exist: '(.*)'", rest):
            return f"--config {missing[1]}: there is no such file; see the folder configs"
        return f"{key}: {rest}"
    if "required" in message:
        return f"{message}: give them in a file with --config or on the command line"
    return message


def _of_optional_section(message: str) -> str:
    """What is wrong within a section that may be null, as the parser says it of any other."""
    found = re.search(OPTIONAL_SECTION, message)
    if not found:
        return message
    section, target, problem, name, rest = found.groups()
    if problem == "Option":
        return f"Option '{section}.{name}' is not accepted: class_path='{target}'"
    return f'Parser key "{section}.{name}"{rest}'


def _type_name(text: str) -> str:
    """``<class 'int'>`` as ``int``, ``typing.Literal['a']`` as ``Literal['a']``."""
    name = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("typing.", "")
    return {"NoneType": "null"}.get(name, name)


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known keys."""
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; --help lists the keys"


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and leave with its exit code; say a user's mistake in one line.

    A ``ValueError`` that this package raised on purpose and an ``OSError`` are told without a
    traceback. Anything else is a bug and keeps it.
    """
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        told = isinstance(error, (OSError, ConfigError, NonFiniteError)) or _raised_here(error)
        if not told:
            raise
        if os.environ.get("RANK", "0") != "0":
            # Every rank usually fails alike; give the first the time to speak for all.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(2)
        line = re.sub(r"\s*\n\s*", " ", str(error))
        bars: Any = tqdm
        for bar in list(bars._instances):  # they would be drawn over the line
            bar.close()
        print(f"error: {line}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        print("interrupted; a run with checkpoints goes on with --resume true", file=sys.stderr)
        sys.exit(130)


def _raised_here(error: BaseException) -> bool:
    """Whether the statement that raised stands in a file of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and PACKAGE in Path(frames[-1].filename).parents
