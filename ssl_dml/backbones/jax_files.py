"""Original JAX checkpoints of vision transformers, by timm's own loader."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from ssl_dml.backbones.conversion import Tensors, silent
from ssl_dml.types import one_line

PATCHES = "embedding/kernel"  # every one of timm's loaders needs it
BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/")
STACKED = "Transformer/encoderblock/LayerNorm_0/scale"  # its first axis is the blocks


def is_jax(content: Mapping[Any, Any]) -> bool:
    """Whether the names are those of an original JAX vision transformer.

    >>> is_jax({"embedding/kernel": 0, "Transformer/encoderblock_0/LayerNorm_0/scale": 0})
    True
    >>> is_jax({"patch_embed.proj.weight": 0})
    False
    """
    return any(str(name).endswith(PATCHES) for name in content) and any(
        "Transformer/encoderblock" in str(name) for name in content
    )


def from_jax(content: Mapping[str, Any], arguments: dict[str, Any] | None) -> Tensors:
    """The tensors of timm's network that come from an original JAX checkpoint.

    Args:
        content: Arrays of the file by name.
        arguments: Arguments that timm builds the network with; None if it is not of timm.

    Raises:
        ValueError: If timm cannot load it, or it has another number of blocks.
    """
    what = "it is an original JAX checkpoint of a vision transformer"
    if arguments is None:
        raise ValueError(f"{what}, which only networks of timm take")
    try:
        with silent(), torch.random.fork_rng(devices=[]):
            values = _loaded(content, arguments)
            # What becomes NaN comes from the file; timm leaves the rest random.
            marked = _loaded(
                {name: torch.full_like(value, torch.nan) for name, value in content.items()},
                arguments,
            )
    except Exception as error:  # timm raises many kinds
        raise ValueError(
            f"{what}, which timm cannot load into this network ({one_line(error)}); set name and "
            "options of the backbone to those of the weights"
        ) from error
    here = len({name.split(".")[1] for name in values if name.startswith("blocks.")})
    if (blocks := _blocks(content)) != here:
        raise ValueError(f"{what} with {blocks} blocks, and the network has {here}; set name")
    return {name: value for name, value in values.items() if marked[name].isnan().any()}


def _blocks(content: Mapping[str, Any]) -> int:
    stacked = next((value for name, value in content.items() if name.endswith(STACKED)), None)
    if stacked is not None:
        return len(stacked)
    return len({found[1] for name in content if (found := BLOCK.search(name))})


def _loaded(content: Mapping[str, Any], arguments: dict[str, Any]) -> Tensors:
    """timm reads such weights from files alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        arrays = {name: value.float().numpy() for name, value in content.items()}
        np.savez(path, allow_pickle=False, **arrays)
        source = {"file": str(path), "custom_load": True, "url": None, "hf_hub_id": None}
        network = timm.create_model(**arguments, pretrained=True, pretrained_cfg_overlay=source)
    return network.state_dict()
