"""Images of more bits or bands than Pillow reads: 16-bit color PNG, and TIFF."""

import io
import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image

from ssl_dml.data.budget import take

TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS, SAMPLES, EXTRA = 258, 277, 338  # tags
BYTE = 8
MOST_BANDS = 4  # of which Pillow takes the fourth for opacity
WHITE = 65535


def is_tiff(head: bytes) -> bool:
    """Whether these are the first bytes of a TIFF file."""
    return head[:4] in TIFF_HEADS


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow would lose bits or bands of an image that it opened.

    >>> is_deep(Image.new("RGB", (2, 2)))
    False
    """
    if image.format == "PNG":
        coded = str(image.tile[0].args) if image.tile else ""  # type: ignore[attr-defined]
        return "16" in coded and not image.mode.startswith("I")
    if image.format != "TIFF":
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    samples = tags.get(SAMPLES, 1)
    unspecified = 0 in tags.get(EXTRA, ()) and samples >= MOST_BANDS
    return samples > 1 and (max(tags.get(BITS, (1,))) > BYTE or unspecified)


def refuse_pixels(pixels: int, most: int) -> None:
    """Raise if an image has more pixels than ``data.max_pixels``.

    Raises:
        ValueError: With both numbers.
    """
    if pixels > most:
        raise ValueError(
            f"has {pixels:,} pixels, and data.max_pixels is {most:,}: a higher one reads it"
        )


def read_png(data: bytes) -> Shaped[np.ndarray, "height width channels"]:
    """Read a 16-bit PNG; a transparent one is laid over white.

    Raises:
        ValueError: If it is damaged.
    """
    from torchvision.io import ImageReadMode, decode_png

    try:
        coded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels = decode_png(coded, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError as error:
        raise ValueError("is a damaged PNG") from error
    if pixels.shape[2] % 2:
        return pixels
    opacity = pixels[:, :, -1:].astype(np.float64) / WHITE
    return np.rint(pixels[:, :, :-1] * opacity + WHITE * (1 - opacity)).astype(np.uint16)


def read_tiff(
    file: Path | io.BytesIO, max_pixels: int = sys.maxsize
) -> Shaped[np.ndarray, "height width channels"]:
    """Read the first page of a TIFF with all its bands, as they are.

    Raises:
        ValueError: If tifffile is not installed, the file is damaged, or it has more pixels.
    """
    try:
        tifffile = import_module("tifffile")
    except ModuleNotFoundError as error:
        raise ValueError(
            "is TIFF of more bits or bands than Pillow reads: pip install 'ssl_dml[tiff]'"
        ) from error
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with tifffile.TiffFile(file) as opened:
            page = opened.pages[0]
            refuse_pixels(math.prod(sorted(page.shape)[-2:]), max_pixels)
            take(math.prod(page.shape) * page.dtype.itemsize)
            pixels, axes = page.asarray(), page.axes
    except MemoryError:
        raise
    except Exception as error:  # it raises anything on damaged bytes
        raise ValueError(f"is TIFF that cannot be read: {' '.join(str(error).split())}") from error
    if axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"is TIFF with axes {axes}; the first page must be an image")
    return np.moveaxis(pixels, 0, -1) if axes == "SYX" else pixels
