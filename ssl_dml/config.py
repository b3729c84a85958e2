"""YAML and the command line become a frozen dataclass; mistakes become one line."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from ssl_dml.components import mistakes
from ssl_dml.config_errors import explain, nearest
from ssl_dml.given import given_keys, split_configs, value_of
from ssl_dml.misfits import building, misfits
from ssl_dml.progress import say
from ssl_dml.reading import reading, regular
from ssl_dml.trust import naming
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import as_text

# What looks like a component where any value will do is data, and modules that run commands are
# not even imported.
set_parsing_settings(instantiate_subclass_spec_in_any=False, import_path_denylist=[])

Schema = TypeVar("Schema")
PACKAGE = Path(__file__).parent
# In a clone the configurations stand beside the package, in a wheel within it.
CONFIGS = next(p for p in (PACKAGE / "configs", PACKAGE.parent / "configs") if p.is_dir())


def parse(
    schema: type[Schema],
    args: Sequence[str] | None = None,
    *,
    kind: str = "",
    default: str | Path | None = None,
    either: tuple[str, str] | None = None,
    functions: Mapping[str, tuple[Callable[..., Any], set[str | int]]] | None = None,
    packages: Iterable[str] | None = None,
) -> tuple[Schema, dict[str, Any]]:
    """Fill a dataclass from ``--config NAME`` and ``--section.field value``.

    Nothing is built: component fields become callables that build when they are called.

    Args:
        schema: Frozen dataclass whose fields are the keys.
        args: Command line without the program; None for that of this process.
        kind: Folder of the shipped configurations, such as ``pretrain``.
        default: Name or file that serves when no ``--config`` is given; None for the schema's own
            values.
        either: Two keys of which the command line's unsets the other of the file.
        functions: Functions whose keyword arguments are sections of the configuration, by the
            name of the section, with those that are not.
        packages: Packages beside :data:`~ssl_dml.trust.KNOWN` whose components may be named;
            None for any, as in a configuration of one's own.

    Returns:
        The filled dataclass, and plain values that fill it again the same way.

    Raises:
        ConfigError: In one line, what is wrong with which key and what would be right.
    """
    names, rest = split_configs(list(sys.argv[1:] if args is None else args))
    files = [find_config(name, kind) for name in names or ([default] if default else [])]
    keys = {arg.partition("=")[0].removeprefix("--") for arg in rest}
    if either is not None and len(keys & {*either}) == 1:
        rest.insert(0, f"--{next(key for key in either if key not in keys)}=null")
    # Files come first, so that keys override them wherever they were written.
    args = [*(f"--config={path}" for path in files), *rest]
    given = given_keys(args)
    parser = ArgumentParser(
        prog=f"ssl_dml {kind}".strip(),
        description=(schema.__doc__ or "").partition("\n")[0],
        epilog=f"shipped configurations: {', '.join(shipped(kind))}" if shipped(kind) else None,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="shipped name or YAML file; keys win")
    parser.add_class_arguments(schema)
    for section, (function, skip) in (functions or {}).items():
        parser.add_function_arguments(function, section, skip=skip)
    with naming(packages):
        namespace = _read(parser, lambda: parser.parse_args(args), given)
        values = json.loads(parser.dump(namespace, format="json", skip_unset=False))
        built: Any = building(parser.instantiate, "")(namespace)
    names = [field.name for field in fields(schema)]  # pyright: ignore[reportArgumentType]
    return schema(**{name: building(built[name], name) for name in names}), values


def parse_run(
    schema: type[Schema], args: Sequence[str] | None = None, *, kind: str, default: str
) -> tuple[Schema, dict[str, Any]]:
    """:func:`parse` for a run: one that is resumed takes the configuration of its own folder.

    That is data: it may name components of known packages alone, unless the command line has
    ``--trust true``, and says neither where the run is nor whether it is trusted.

    Args:
        schema: The run's configuration.
        args: Command line without the program; None for that of this process.
        kind: Folder of the shipped configurations.
        default: Shipped configuration of a new run that names none.
    """
    args = list(sys.argv[1:] if args is None else args)
    names, rest = split_configs(args)
    either = ("train.steps", "train.epochs")
    own = _own_config(names, rest, kind, default)
    packages: Iterable[str] | None = None
    if own:  # a run folder is data: neither where it is nor whether it is trusted is its to say
        trust = value_of(str(given_keys(rest).get("trust"))) is True
        packages = None if trust else ()
        folder = Path(own[0].partition("=")[2]).parent
        fixed = {"output_dir": folder, "trust": str(trust).lower()}
        known = {field.name for field in fields(schema)}  # pyright: ignore[reportArgumentType]
        own += [f"--{key}={value}" for key, value in fixed.items() if key in known]
    given = {"kind": kind, "packages": packages}
    try:
        return parse(schema, [*own, *args], default=default, either=either, **given)
    except ConfigError as error:
        if own and not re.search(r"--trust|\.class_path: ", str(error)):
            try:  # is it the file itself, or what the command line adds?
                parse(schema, own, **given)
            except ConfigError as wrong:
                file, reason = own[0].partition("=")[2], str(wrong)
                reason = reason if reason.startswith(file) else f"{file} is damaged: {reason}"
                remedy = "each checkpoint keeps a copy of it, for --config"
                raise ConfigError(f"{reason}; {remedy}") from error
        raise


def beside_default(
    args: Sequence[str], *, kind: str, default: str, resumed: Path | None = None
) -> dict[str, Any] | None:
    """What a command line sets where the toolkit may choose the rest.

    Args:
        args: Command line without the program.
        kind: Folder of the shipped configurations.
        default: Shipped configuration of a new run that names none.
        resumed: Folder of the run that is resumed, if it is to be.

    Returns:
        Nested dictionaries of the keys that it sets; None if it names another configuration than
        the default one, or goes on with that of a run.
    """
    names, rest = split_configs(list(args))
    own = not names and resumed is not None and (resumed / "config.yaml").exists()
    usual = find_config(default, kind)
    if own or any(find_config(name, kind) != usual for name in names):
        return None
    return given_keys(rest)


def _own_config(names: list[str], rest: list[str], kind: str, default: str) -> list[str]:
    """The argument that names the configuration of the run that is resumed, if there is one.

    Raises:
        ConfigError: If the run has checkpoints and its configuration is gone.
    """
    if value_of(str(given_keys(rest).get("resume"))) is not True:
        return []
    chosen = names[-1] if names else default
    named = given_keys([f"--config={find_config(chosen, kind)}", *rest]).get("output_dir")
    if not isinstance(named, str):
        raise ConfigError(f"--output_dir must name the folder of the run, got {named!r}")
    own = Path(named) / "config.yaml"
    if own.exists():
        return [] if names else [f"--config={own}"]
    kept = list(own.parent.glob("checkpoints/step_*[0-9]/config.yaml"))
    if not kept:
        say(f"nothing to resume in {own.parent}: a new run by {chosen}")
    elif not names:
        newest = max(kept, key=lambda path: path.stat().st_mtime)
        raise ConfigError(f"{own} is missing; to go on with a copy of it: --config {newest}")
    return []


def shipped(kind: str) -> list[str]:
    """Names of the configurations that come with the package.

    >>> "moco_v2" in shipped("pretrain")
    True
    """
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))


def find_config(name: str | Path, kind: str) -> Path:
    """The file of a configuration that is named by its path or by its shipped name.

    Args:
        name: A path, or a name such as ``moco_v2`` or ``finetune/arcface``.
        kind: Folder of the shipped names that stand alone.

    Raises:
        ConfigError: If there is neither.
    """
    path = Path(name).expanduser()
    bare = str(name).removesuffix(".yaml")
    for found in (path, CONFIGS / kind / f"{bare}.yaml", CONFIGS / f"{bare}.yaml"):
        if found.is_file():
            return found
    if path.exists():
        with reading(f"--config {name}", "name a YAML file"):
            regular(path)
    known = [known for folder in CONFIGS.iterdir() for known in (*shipped(folder.name),)]
    hint = nearest(bare.rpartition("/")[2], known, listed="--help lists the shipped ones")
    raise ConfigError(f"--config {name}: there is no such file or shipped configuration{hint}")


def _read(
    parser: ArgumentParser, parse: Callable[[], Namespace], given: Mapping[str, Any]
) -> Namespace:
    """What the parser makes of a configuration, which builds only what it may name.

    The parser imports classes and checks their arguments, but takes functions for classes too and
    would call them. So this comes before anything is built.
    """
    try:
        namespace = parse()
    except (ArgumentError, ImportError) as error:
        keys = [action.dest for action in parser._actions if action.dest]
        wrong = next(mistakes(parser, given), None) or next(misfits(parser, given), None)
        raise ConfigError(_at_top(wrong or explain(str(error), keys), keys)) from error
    for wrong in mistakes(parser, namespace.as_dict()):
        raise ConfigError(next(mistakes(parser, given), wrong))
    return namespace


def _at_top(wrong: str, keys: Sequence[str]) -> str:
    """What is wrong; of a key that stands beside a component and not in it, where it belongs.

    >>> _at_top("head.init_args.nested is not an argument of X; did you mean seed?", ["nested"])
    'head.init_args.nested is not an argument of X; nested is a key of its own: --nested'
    """
    found = re.match(r"[\w.]+\.(\w+) is not an argument of [\w.]+", wrong)
    if found and found[1] in keys:
        return f"{found[0]}; {found[1]} is a key of its own: --{found[1]}"
    return wrong


def fill(schema: type[Schema], values: dict[str, Any]) -> Schema:
    """Fill a dataclass from one section of a configuration.

    Raises:
        ConfigError: In one line, what is wrong with which key.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(schema)
    namespace = _read(parser, lambda: parser.parse_object(as_text(values)), values)
    return schema(**vars(parser.instantiate(namespace)))


def arguments(
    function: Callable[..., Any], skip: set[str | int], values: dict[str, Any]
) -> dict[str, Any]:
    """The keyword arguments of a function, built from plain values of a section.

    Args:
        function: What is to be called.
        skip: Its arguments that are not in the section.
        values: As :func:`parse` returns them.

    Raises:
        ConfigError: In one line, what is wrong with which key.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(function, skip=skip)
    namespace = _read(parser, lambda: parser.parse_object(as_text(values)), values)
    return dict(vars(building(parser.instantiate, "")(namespace)))


def component(values: Mapping[str, Any], key: str) -> tuple[str, dict[str, Any]]:
    """Dotted path and constructor arguments of a component in plain values.

    >>> component({"method": {"class_path": "ssl_dml.methods.SimCLR"}}, "method")
    ('ssl_dml.methods.SimCLR', {})
    """
    return values[key]["class_path"], values[key].get("init_args") or {}
