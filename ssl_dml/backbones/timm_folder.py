"""A folder that timm loads by ``local-dir:``, and from the hub by ``hf-hub:``."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.embedder import Embedder
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.files import write_json
from ssl_dml.types import ConfigError, one_line

TOLERANCE = 1e-4
CROPS = {"center": "center", "squash": "squash", "pad": "border"}
OWN_KEYS = ("model_name", "num_classes")
REMEDY = "--to safetensors, hub, onnx and torch_export take it"


def write_timm_folder(backbone: Backbone, folder: Path) -> float:
    """Write ``config.json`` and ``model.safetensors``, and load them again with timm.

    Args:
        backbone: A network of timm; a linear neck becomes timm's classifier.
        folder: An empty folder.

    Returns:
        Largest difference of any feature of what timm loads, relative to the largest.

    Raises:
        ConfigError: If the network is not timm's own, or timm loads another.
    """
    network, arguments = _network_of(backbone)
    images: Any = backbone.inputs
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    config = {
        "architecture": arguments["model_name"],
        "num_classes": arguments["num_classes"],
        "num_features": int(network.num_features),
        "model_args": {k: v for k, v in arguments.items() if k not in OWN_KEYS},
        "pretrained_cfg": {
            "num_classes": arguments["num_classes"],
            "input_size": [images.channels, *images.sides],
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": CROPS[images.test_view],
            "mean": list(images.mean),
            "std": list(images.std),
            "classifier": network.default_cfg.get("classifier"),
        },
    }  # fmt: skip
    save_file(state, folder / "model.safetensors")
    write_json(folder / "config.json", config)
    return _difference(backbone, folder)


def _network_of(backbone: Backbone) -> tuple[Any, dict[str, Any]]:
    """The network of timm, and the arguments that build it."""
    inner, neck = backbone, nn.Sequential()
    if isinstance(backbone, Embedder):
        inner, neck = backbone.backbone, backbone.neck
    if not isinstance(inner, TimmBackbone):
        raise ConfigError(f"--to timm: {type(inner).__name__} is no network of timm; {REMEDY}")
    network, arguments = inner.network, dict(inner.arguments)
    if len(neck):
        if len(neck) > 1 or not isinstance(neck[0], nn.Linear):
            raise ConfigError(f"--to timm: a neck with batch norm is none of timm's; {REMEDY}")
        arguments["num_classes"] = neck[0].out_features
    try:
        own: Any = timm.create_model(**arguments)
        head: Any = own.get_classifier()
        if len(neck):
            head.load_state_dict(neck[0].state_dict())
        wanted = {n: v for n, v in own.state_dict().items() if n not in network.state_dict()}
        own.load_state_dict({**wanted, **network.state_dict()})
    except (RuntimeError, AttributeError) as error:
        small = "its stem for small images" if "conv1" in str(error) else one_line(error, words=12)
        raise ConfigError(
            f"--to timm: {arguments['model_name']} as it was built here is not timm's own "
            f"({small}); train with backbone.stem standard and width 1, or {REMEDY}"
        ) from error
    return own, arguments


@torch.no_grad()
def _difference(backbone: Backbone, folder: Path) -> float:
    """Compare what timm loads with the original."""
    images: Any = backbone.inputs
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(2, images.channels, *images.sides, generator=generator)
    try:
        found = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(given)
    except Exception as error:  # of any network
        raise ConfigError(f"--to timm: timm cannot load it: {one_line(error)}; {REMEDY}") from error
    wanted = backbone.eval()(given)
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
    if not difference <= TOLERANCE:
        raise ConfigError(f"--to timm: what timm loads differs by {difference:.1e}; {REMEDY}")
    return difference
