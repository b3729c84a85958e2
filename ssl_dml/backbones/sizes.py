"""Sizes of images that networks of timm take."""

import math
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from ssl_dml.types import ConfigError, ImageSpec, one_line, sides_of

ANY_SIZE = ("vit_", "deit_", "eva02_", "test_vit")  # families that resample their positions
STEPS = (14, 16, 28, 32, 64)  # a network of a fixed size takes multiples of one of these
SUGGESTED = 3


def create(arguments: dict[str, Any], images: ImageSpec) -> nn.Module:
    """Build a network; one whose patches do not divide the images is built for the next size.

    Raises:
        ValueError: If it cannot be built with these arguments, or for images of this size; the
            message names sizes that work.
    """
    name = arguments["model_name"]
    try:
        return _created(arguments)
    except ConfigError:
        raise
    except TypeError as error:
        raise ValueError(f"backbone: {name} cannot be built so: {error}") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = one_line(error, words=20)
        raise ValueError(
            f"backbone: {name} cannot be built for images of {shown(images.size)} pixels: "
            f"{reason}{advice(arguments, images)}"
        ) from error


def _created(arguments: dict[str, Any]) -> nn.Module:
    network: Any = timm.create_model(**arguments)
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    size = arguments.get("img_size")
    if arguments.get("dynamic_img_pad") and patch and size is not None:
        sides = [side + -side % step for side, step in zip(sides_of(size), patch, strict=True)]
        if tuple(sides) != sides_of(size):
            arguments["img_size"] = tuple(sides)
            network = timm.create_model(**arguments)
    return network


def size_arguments(name: str, images: ImageSpec) -> dict[str, object]:
    """Hand the size over to a family that needs it, and let it take views of any where it can."""
    if name.startswith(ANY_SIZE):
        return {"img_size": images.size, "dynamic_img_size": True, "dynamic_img_pad": True}
    config = get_pretrained_cfg(name)
    return {"img_size": images.size} if config is not None and config.fixed_input_size else {}


def advice(arguments: dict[str, Any], images: ImageSpec) -> str:
    """Sizes near that of the images that a network takes; no weights are allocated to see it."""
    own = get_pretrained_cfg(arguments["model_name"])
    sizes = {sides_of(own.input_size[-1])} if own is not None else set[tuple[int, int]]()
    for step in STEPS:
        lower = [max(side // step, 1) * step for side in images.sides]
        higher = [(side // step + 1) * step for side in images.sides]
        sizes |= {(lower[0], lower[1]), (higher[0], higher[1])}
    works: list[tuple[int, int]] = []
    for size in sorted(sizes, key=lambda size: math.dist(size, images.sides)):
        given = {**arguments, "img_size": size} if "img_size" in arguments else arguments
        try:
            with torch.device("meta"), torch.no_grad():
                network = timm.create_model(**given).eval()
                network(torch.zeros(1, images.channels, *size))
        except Exception:
            continue
        works.append(size)
        if len(works) == SUGGESTED:
            break
    named = ", ".join(
        shown(height if height == width else (height, width)) for height, width in sorted(works)
    )
    return f"; data.image_size {named} would do" if works else ""


def shown(size: int | tuple[int, int]) -> str:
    """A size as a configuration gives it.

    >>> shown(64), shown((128, 64))
    ('64', '[128, 64]')
    """
    return str(size) if isinstance(size, int) else str(list(size))
