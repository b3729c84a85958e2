"""Load weights of timm from a file: every tensor of the network, or an error."""

import logging
import pickle
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

# Where files of timm keep their weights, beside what else a run needs; averaged ones first.
SECTIONS = ("state_dict_ema", "model_ema", "state_dict", "model")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name; nothing in it is executed.

    Args:
        path: ``.safetensors``, or a state dict that ``torch.save`` wrote, or a dict with one under
            ``state_dict`` or ``model``.

    Raises:
        ValueError: If there is no such file, or it holds no tensors by name.
    """
    if not path.is_file():
        raise ValueError("there is no such file")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "it holds more than tensors; save the state_dict() of its network as .safetensors"
        ) from error
    except Exception as error:  # torch raises many types on foreign files
        raise ValueError(f"it cannot be read: {' '.join(str(error).split()[:30])}") from error
    section = None
    if isinstance(content, Mapping):
        section = next((key for key in SECTIONS if isinstance(content.get(key), Mapping)), None)
    named: Any = content if section is None else content[section]
    if not isinstance(named, Mapping):
        raise ValueError(f"it holds a {type(named).__name__}, and no tensors by name")
    return {str(name): value.detach() for name, value in named.items() if torch.is_tensor(value)}


def weights_of(
    weights: dict[str, Tensor], network: nn.Module, arguments: dict[str, Any]
) -> dict[str, Tensor]:
    """Return a state dict of the network in which every weight and statistic is the file's.

    Where names or shapes differ, timm converts what it can: another number of channels, positions
    of another image size, names of the authors' own code. Integer tensors are counters and
    indices, which are never random, and may be missing.

    Args:
        weights: Tensors of the file.
        network: The network that takes them.
        arguments: Arguments that timm built it with.

    Raises:
        ValueError: If the file lacks a tensor of the network, or is of a network with more
            layers; the message counts the tensors found and names one that is missing.
    """
    own = network.state_dict()
    wanted = {name: value for name, value in own.items() if value.is_floating_point()}
    found = _fitting(weights, wanted)
    if weights and len(found) < len(wanted):
        converted = _fitting(_converted(weights, arguments), wanted)
        found = converted if len(converted) > len(found) else found
    missing = [name for name in wanted if name not in found]
    unused = _unused(weights, own, network)
    # Where names agree, an unused weight in a part of the network belongs to a further layer.
    parts = {_part(name) for name in wanted} if wanted.keys() <= weights.keys() else set()
    deeper = [name for name in unused if _part(name) in parts]
    if not missing and not deeper:
        counters = {name: value for name, value in own.items() if name not in wanted}
        return {**own, **_fitting(weights, counters), **found}
    told = [f"{len(found)} of its {len(wanted)} tensors found"]
    if missing:
        name = _first_missing(missing, weights, network)
        told.append(f"{name} missing{_sizes(name, weights, own)}")
    if deeper or unused:
        told.append(f"{(deeper or unused)[0]} of the file unused")
    raise ValueError(
        f"{', '.join(told)}; set name, stem, width and options of the backbone to those of the "
        "weights, or give their tensors the names that timm has for them"
    )


def _unpickled(path: Path) -> Any:  # noqa: ANN401
    # Checkpoints of timm's training script contain its command line.
    with torch.serialization.safe_globals([Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _fitting(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Select the weights whose name and shape the network has."""
    return {
        name: weights[name]
        for name, value in own.items()
        if name in weights
        and weights[name].shape == value.shape
        and weights[name].is_floating_point() == value.is_floating_point()
    }


def _converted(weights: dict[str, Tensor], arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Let timm convert the weights; leave out what it leaves random.

    timm does not say which tensors those are. It therefore converts the file once more with every
    value NaN, and what becomes NaN comes from the file.
    """
    marks = {
        name: torch.full_like(value, torch.nan) if value.is_floating_point() else value
        for name, value in weights.items()
    }
    try:
        with _silent(), torch.random.fork_rng(devices=[]):
            values, marked = (_loaded(given, arguments) for given in (weights, marks))
    except Exception:  # timm and torch raise many kinds, of which none names the file
        return {}
    return {name: value for name, value in values.items() if marked[name].isnan().any()}


def _loaded(weights: dict[str, Tensor], arguments: dict[str, Any]) -> dict[str, Tensor]:
    # Without these timm may download the network's own weights.
    source = {"state_dict": weights, "file": None, "url": None, "hf_hub_id": None}
    network = timm.create_model(**arguments, pretrained=True, pretrained_cfg_overlay=source)
    return network.state_dict()


@contextmanager
def _silent() -> Iterator[None]:
    """Hide timm's warnings about tensors it does not load; here those are an error."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unused(weights: dict[str, Tensor], own: dict[str, Tensor], network: nn.Module) -> list[str]:
    """Name the weights of the file that the network lacks, except those of classifiers."""
    given = _config(network).get("classifier") or ()
    classifiers = {_part(name) for name in ((given,) if isinstance(given, str) else given)}
    return [
        name
        for name, value in weights.items()
        if name not in own and value.is_floating_point() and _part(name) not in classifiers
    ]


def _first_missing(missing: list[str], weights: dict[str, Tensor], network: nn.Module) -> str:
    """Name one; not the first convolution if others are, as its channels can be adapted."""
    first = f"{_config(network).get('first_conv')}.weight"
    return next((name for name in missing if name != first or name not in weights), first)


def _config(network: nn.Module) -> dict[str, Any]:
    config: Any = getattr(network, "pretrained_cfg", {})
    return config


def _part(name: str) -> str:
    return name.partition(".")[0]


def _sizes(name: str, weights: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    if name not in weights or weights[name].shape == own[name].shape:
        return ""
    here, there = ("x".join(map(str, value.shape)) for value in (own[name], weights[name]))
    return f" ({here} here, {there} in the file)"
