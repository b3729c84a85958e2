"""Mistakes in a configuration as one line: the parser's prose becomes key, value and remedy."""

import difflib
import inspect
import re
from collections.abc import Iterable
from typing import Any

from jsonargparse.typing import import_object

# What the parser says of a mistake within a section that may be null; the rest is of the null.
OPTIONAL_SECTION = (
    r"""Parser key "([\w.]+)": .*given class_path '([\w.]+)': """
    r"""(Option|Parser key) ['"](\w+)['"](.*) - Expected a <class 'NoneType'> Given value type"""
)
TYPE = r"<class '[^']*'>|[\w.]+\[.*?\]"
GIVE_IT = "give it in a file with --config or on the command line"


NOT_A_KEY = (
    r"unrecognized arguments: (\S+?)(?:=| |$)|Group '([\w.]+)' does not accept option '(.+)'"
    r"|^Option '([\w.]+)' is not accepted(?!.*class_path=)"
)


def explain(message: str, keys: Iterable[str]) -> str:  # noqa: PLR0911 - one return a case
    """One line from the parser's many: the key, the value, what was expected."""
    message = _of_optional_section(re.sub(r"\s+", " ", message).strip())
    if found := re.search(NOT_A_KEY, message):
        name = ".".join(filter(None, found.groups()))
        return f"{name} is not a key{nearest(name.removeprefix('--'), keys)}"
    if found := re.search(r"Option '([\w.]+)' is not accepted.*?class_path='([\w.]+)'", message):
        target: Any = import_object(found[2])
        known = inspect.signature(target).parameters
        hint = nearest(found[1].rpartition(".")[2], known)
        return f"{found[1]} is not an argument of {found[2]}{hint}"
    if found := re.search(r'Parser key "([\w.]+)": (.*)', message):
        key, rest = found.groups()
        if lacking := re.search(r"arguments are required: (\w+)", rest):
            return f"{key}.init_args.{lacking[1]} is required: {GIVE_IT}"
        value = re.findall(r"(?:Got value|Given value): ?(.*?)$", rest)
        expected = re.findall(rf"Expected an? ({TYPE})", rest)
        if union := re.search(r"Subtypes: \[(.*)\] Errors:.* Given value: (.*)$", rest):
            expected, value = re.findall(TYPE, union[1]), [union[2]]
        if value and expected:
            types = " or ".join(dict.fromkeys(_type_name(one) for one in expected))
            return f"{key}: expected {types}, got {value[-1]!r}"
        return f"{key}: {rest}"
    if "required" in message:
        return f"{message}: {GIVE_IT}"
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
    """``<class 'int'>`` as ``int``, ``tuple[int, int]`` as ``[int, int]``."""
    name = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("typing.", "")
    name = re.sub(r"^(tuple|list)(?=\[)", "", name)
    return {"NoneType": "null"}.get(name, name)


def nearest(name: str, known: Iterable[str], listed: str = "--help lists the keys") -> str:
    """A hint that names the closest known keys."""
    others = [other for other in known if other != name]
    close = difflib.get_close_matches(name, others, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else f"; {listed}"
