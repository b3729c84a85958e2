"""Save and load a backbone: a folder with its weights and how to build the network."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import ssl_dml
from ssl_dml.backbones.adapters import without_adapters
from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.building import build, import_named
from ssl_dml.distributed import has_split_weights, rank, whole
from ssl_dml.files import replacing, write_json
from ssl_dml.reading import read_json, regular
from ssl_dml.types import ImageSpec, SequenceSpec, one_line

WEIGHTS, METADATA = "model.safetensors", "backbone.json"
SPECS = {"images": ImageSpec, "sequences": SequenceSpec}


def save(
    backbone: Backbone,
    folder: Path,
    class_path: str,
    init_args: dict[str, Any],
    *,
    trained: dict[str, Any],
) -> None:
    """Write ``model.safetensors`` and ``backbone.json``; replace an older folder.

    Adapters are merged into the weights beside them. A network whose weights are split over
    processes is saved by all of them together, of which the first writes.

    >>> import tempfile
    >>> from ssl_dml.backbones import TimmBackbone
    >>> init_args = {"name": "resnet18", "width": 0.125}
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), **init_args)
    >>> folder = Path(tempfile.mkdtemp()) / "backbone"
    >>> save(backbone, folder, "ssl_dml.backbones.TimmBackbone", init_args, trained={})
    >>> load(folder).feature_dim
    64

    Args:
        backbone: The network.
        folder: Folder to write.
        class_path: Dotted path of its class.
        init_args: Keyword arguments of its constructor, partials ``inputs``.
        trained: What it was trained with, for people to read.
    """
    kind = next(name for name, spec in SPECS.items() if isinstance(backbone.inputs, spec))
    metadata = {
        "class_path": class_path,
        "init_args": init_args,
        kind: asdict(backbone.inputs),
        "feature_dim": backbone.feature_dim,
        "trained": trained,
        "ssl_dml": ssl_dml.__version__,
    }
    weights = without_adapters(backbone).state_dict()
    state = {name: whole(value).contiguous().cpu() for name, value in weights.items()}
    if has_split_weights(backbone) and rank() != 0:
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder, folder=True) as partial:
            save_file(state, partial / WEIGHTS)
            write_json(partial / METADATA, metadata)
    except (SafetensorError, OSError) as error:
        raise OSError(f"{folder} cannot be written: {error}") from error


def load(folder: str | Path, *, trust: bool = False) -> Backbone:
    """Load a network that :func:`save` wrote, with its weights, in eval mode on the CPU.

    Nothing in the folder is executed: weights are safetensors, and the class it names must be
    a :class:`Backbone` of this package, of a module that is imported already, or of one that an
    entry point in the group ``ssl_dml.backbones`` names.

    Args:
        folder: What :func:`save` wrote.
        trust: Import the module of any class that the folder names.

    Raises:
        ValueError: If a file is missing, damaged, or not of a backbone; the message names it.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    try:
        state = load_file(regular(folder / WEIGHTS))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {error}") from error
    try:
        if trust:
            import_named(metadata)
        backbone = build(metadata["class_path"], metadata["init_args"], metadata["inputs"])
    except ValueError as error:
        raise ValueError(f"{folder / METADATA} names what cannot be built: {error}") from error
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).split("\n")[1].strip()
        raise ValueError(
            f"{folder / WEIGHTS} does not fit {metadata['class_path']}: {reason}"
        ) from error
    wrong = next((name for name, value in state.items() if not value.isfinite().all()), None)
    if wrong is not None:
        raise ValueError(f"{folder / WEIGHTS} is damaged: {wrong} holds NaN or infinity")
    return backbone.eval()


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read ``backbone.json``: class, arguments, samples, and how it was trained.

    Raises:
        ValueError: If a file of the folder is missing or damaged; the message names it.
    """
    for name in (METADATA, WEIGHTS):
        if not (folder / name).exists():
            raise ValueError(f"{folder} is no saved backbone: it lacks {name}")
    try:
        metadata = read_json(folder / METADATA)
        kind = next((name for name in SPECS if name in metadata), "images")
        inputs = metadata[kind]
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in inputs.items()}
        metadata["inputs"] = SPECS[kind](**plain)
        return {
            "class_path": metadata["class_path"],
            "init_args": metadata["init_args"],
            **metadata,
        }
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"{folder / METADATA} is damaged: {one_line(error)}") from error
