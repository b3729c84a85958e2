"""A trained backbone as a folder: weights, and how to build the network around them."""

import importlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import ssl_dml
from ssl_dml.backbones.base import Backbone
from ssl_dml.types import ImageSpec, SequenceSpec

WEIGHTS, FACTS = "model.safetensors", "backbone.json"
SPECS = {"images": ImageSpec, "sequences": SequenceSpec}


def save(
    backbone: Backbone,
    folder: Path,
    class_path: str,
    init_args: dict[str, Any],
    *,
    trained: dict[str, Any],
) -> None:
    """Write ``model.safetensors`` and ``backbone.json``; an older folder is replaced whole.

    Args:
        backbone: The network.
        folder: Where to write.
        class_path: Dotted path of its class.
        init_args: Keyword arguments that build it, beside the samples.
        trained: What it was trained with, for people to read.
    """
    kind = next(name for name, spec in SPECS.items() if isinstance(backbone.inputs, spec))
    facts = {
        "class_path": class_path,
        "init_args": init_args,
        kind: asdict(backbone.inputs),
        "feature_dim": backbone.feature_dim,
        "trained": trained,
        "ssl_dml": ssl_dml.__version__,
    }
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    state = {name: value.contiguous().cpu() for name, value in backbone.state_dict().items()}
    try:
        save_file(state, beside / WEIGHTS)
        (beside / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    except (SafetensorError, OSError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise OSError(f"{folder} cannot be written: {error}") from error
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def load(folder: str | Path) -> Backbone:
    """The network that :func:`save` wrote, with its weights, in eval mode on the CPU.

    Nothing in the folder is executed: weights are safetensors, and the class it names must be
    a :class:`Backbone` of an installed package.

    Raises:
        ValueError: Naming the file, if one is missing, damaged or not of this kind.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    try:
        state = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {error}") from error
    try:
        backbone = build(facts["class_path"], facts["init_args"], facts["inputs"])
    except ValueError as error:
        raise ValueError(f"{folder / FACTS} names what cannot be built: {error}") from error
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).split("\n")[1].strip()
        raise ValueError(
            f"{folder / WEIGHTS} does not fit {facts['class_path']}: {reason}"
        ) from error
    return backbone.eval()


def read_facts(folder: Path) -> dict[str, Any]:
    """What ``backbone.json`` says: class, arguments, samples, and how it was trained.

    Raises:
        ValueError: Naming the file, if one of the folder is missing or damaged.
    """
    for name in (FACTS, WEIGHTS):
        if not (folder / name).exists():
            raise ValueError(f"{folder} is no saved backbone: it lacks {name}")
    try:
        facts = json.loads((folder / FACTS).read_text())
        kind = next((name for name in SPECS if name in facts), "images")
        inputs = facts[kind]
        normalisation = {name: tuple(inputs[name]) for name in ("mean", "std")}
        facts["inputs"] = SPECS[kind](**{**inputs, **normalisation})
        return {"class_path": facts["class_path"], "init_args": facts["init_args"], **facts}
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / FACTS} is damaged: {error!r}") from error


def build(class_path: str, init_args: dict[str, Any], inputs: ImageSpec | SequenceSpec) -> Backbone:
    """A backbone of an installed package, with random weights.

    Raises:
        ValueError: If there is no such class, or it is no backbone.
    """
    module, _, name = class_path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{class_path} is not installed") from error
    if not (isinstance(cls, type) and issubclass(cls, Backbone)):
        raise ValueError(f"{class_path} is no backbone")
    return cls(inputs, **init_args)  # pyright: ignore[reportCallIssue]
