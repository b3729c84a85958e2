"""What files and the command line say of a configuration, before it is parsed."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ssl_dml.types import ConfigError, shown
from ssl_dml.yaml_text import load, read_yaml


def split_configs(args: list[str]) -> tuple[list[str], list[str]]:
    """What ``--config`` names, and all other arguments.

    Raises:
        ConfigError: If it is the last word.

    >>> split_configs(["--seed", "1", "--config", "moco_v2"])
    (['moco_v2'], ['--seed', '1'])
    """
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    files.add_argument("--config", action="append", default=[])
    try:
        known, rest = files.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise ConfigError("--config needs a file, or the name of a shipped one") from error
    return known.config, rest


def given_keys(args: list[str]) -> dict[str, Any]:
    """What files and the command line say, as nested dictionaries.

    >>> given_keys(["--train.steps=9", "--data.source", "x"])
    {'train': {'steps': '9'}, 'data': {'source': 'x'}}
    """
    tree: dict[str, Any] = {}
    rest = iter(args)
    for arg in rest:
        key, equals, text = arg.removeprefix("--").partition("=")
        text = text if equals else next(rest, "")
        if key == "config":
            _put(tree, [], _keys_of(Path(text)))
            continue
        value = value_of(text)
        kept = value if value is None or isinstance(value, (dict, list)) else text
        _put(tree, key.removesuffix("+").split("."), kept)
    return tree


def _keys_of(path: Path) -> dict[str, Any]:
    """What a file says."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys with values, got {shown(values)}")
    if "config" in values:
        raise ConfigError(f"{path}: config is not a key; give --config once for each file")
    return values


def value_of(text: str) -> Any:  # noqa: ANN401
    """What a word of the command line is: that of YAML, or itself."""
    try:
        return load(text)
    except yaml.YAMLError:
        return text


def _put(tree: dict[str, Any], names: list[str], value: Any) -> None:  # noqa: ANN401
    """Write a value into nested dictionaries; another class drops the arguments of the last."""
    if isinstance(value, dict):
        for name in sorted(value, key=lambda name: name != "class_path"):
            _put(tree, [*names, *str(name).split(".")], value[name])
        return
    for name in names[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {"class_path": inner} if isinstance(inner, str) else {}
        tree = inner
    if names[-1:] == ["class_path"] and tree.get("class_path") != value:
        tree.clear()
    if names:
        tree[names[-1]] = value


def is_open(key: str, given: Mapping[str, Any]) -> bool:
    """Whether a choice of the toolkit may fill a key, as nobody set it.

    Arguments of a component that somebody set are merged into one that is chosen. A component that
    somebody named is theirs with all of its arguments.

    >>> given = {"method": {"class_path": "ssl_dml.methods.MoCo"}, "backbone": {"width": "0.5"}}
    >>> [is_open(key, given) for key in ("method.init_args.temperature", "backbone", "whiten")]
    [False, True, True]

    Args:
        key: Dotted.
        given: As :func:`given_keys` returns it.
    """
    at: Any = given
    for name in key.split("."):
        if name not in at:
            return True
        at = at[name]
        if not isinstance(at, Mapping) or "class_path" in at:
            return False
    return True
