"""Build a backbone by the name of its class, from modules that may be imported."""

import importlib
import inspect
import sys
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.trust import class_paths
from ssl_dml.types import ImageSpec, SequenceSpec, one_line

ENTRY_POINTS = "ssl_dml.backbones"


def build(class_path: str, init_args: dict[str, Any], inputs: ImageSpec | SequenceSpec) -> Backbone:
    """Build a backbone with random weights, and see that it gives what it says.

    Raises:
        ValueError: If there is no such class or it is not a backbone, does not take the arguments
            or the samples, or gives something else than features: what it gave, and what is asked.
    """
    cls = _known(class_path)
    try:
        inspect.signature(cls).bind(inputs, **init_args)
        backbone = cls(inputs, **init_args)  # pyright: ignore[reportCallIssue]
    except ValueError:
        raise
    except Exception as error:  # of a stranger's class
        raise ValueError(f"{class_path} cannot be built: {one_line(error)}") from error
    _check(backbone, class_path)
    return backbone


def _known(class_path: str) -> type[Backbone]:
    """The class of a name, whose module is imported only if it is known."""
    module, _, name = class_path.rpartition(".")
    known = {*sys.modules, *(point.module for point in entry_points(group=ENTRY_POINTS))}
    if module not in known and module.partition(".")[0] != "ssl_dml":
        raise ValueError(
            f"{class_path} is of a module that is not imported; if you trust it, import {module} "
            f"first, set trust, or name it in an entry point of the group {ENTRY_POINTS}"
        )
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{class_path} is not installed") from error
    if not (isinstance(cls, type) and issubclass(cls, Backbone)):
        raise ValueError(f"{class_path} is no backbone")
    return cls


def import_named(metadata: dict[str, Any]) -> None:
    """Import the modules of all classes that metadata name.

    Raises:
        ValueError: If one cannot be imported.
    """
    for class_path in class_paths(metadata):
        try:
            importlib.import_module(class_path.rpartition(".")[0])
        except (ImportError, ValueError) as error:
            raise ValueError(f"{class_path} cannot be imported: {error}") from error


def blank_samples(inputs: ImageSpec | SequenceSpec) -> Tensor:
    """Two samples of zeros, to see what a network does.

    >>> blank_samples(ImageSpec.imagenet(32)).shape
    torch.Size([2, 3, 32, 32])
    """
    extent = inputs.sides if isinstance(inputs, ImageSpec) else (inputs.length,)
    return torch.zeros(2, inputs.channels, *extent)


@torch.no_grad()
def _check(backbone: Backbone, name: str) -> None:
    """Let a new network encode two samples."""
    inputs, dim = getattr(backbone, "inputs", None), getattr(backbone, "feature_dim", None)
    if not isinstance(inputs, ImageSpec | SequenceSpec) or not isinstance(dim, int):
        raise ValueError(
            f"{name} must set self.inputs to the samples it was given and self.feature_dim to a "
            f"whole number, and has {inputs!r} and {dim!r}"
        )
    samples = blank_samples(inputs)
    shape = f"samples of shape {list(samples.shape)}"
    training = backbone.training
    try:
        with torch.random.fork_rng(devices=[]):
            features = backbone.eval()(samples)
    except Exception as error:
        raise ValueError(
            f"{name} does not take {shape}: {one_line(error)}{backbone.advice()}"
        ) from error
    finally:
        backbone.train(training)
    given = list(features.shape) if torch.is_tensor(features) else type(features).__name__
    if given != [2, dim]:
        raise ValueError(
            f"{name} gives {given} for {shape}; it must give one feature of feature_dim {dim} for "
            f"each, of shape [2, {dim}]"
        )
