"""Images of samples as they were brought, found again by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from ssl_dml.data.decode import open_pixels
from ssl_dml.data.images import MAX_PIXELS, read_file
from ssl_dml.reading import reading
from ssl_dml.types import ConfigError


def open_sample(data: Mapping[str, Any], name: str) -> Image.Image:
    """The image that a row of a table is the embedding of.

    Args:
        data: ``data`` of the table's information, with the ``source``.
        name: ``path`` of the row, relative to the source or absolute.

    Raises:
        ConfigError: If it is not in the source, gone, or no image.
    """
    root = Path(str(data.get("source"))).expanduser()
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"{name!r} is not in {root}")
    with reading(str(path)):
        pixels = open_pixels(read_file(path, MAX_PIXELS))
        image = visible(pixels) if isinstance(pixels, np.ndarray) else pixels
        return image.convert("RGB")


def visible(array: Shaped[np.ndarray, "height width channels"]) -> Image.Image:
    r"""An array of other than 8-bit values, or of many bands, as an image to look at.

    Its first three bands are shown, or the first of less, from the least value to the largest.

    >>> visible(np.array([[[0], [65535]]], np.uint16)).tobytes()
    b'\x00\xff'
    """
    bands = array[:, :, : 3 if array.shape[2] >= 3 else 1].astype(np.float32)  # noqa: PLR2004
    if array.dtype != np.uint8:
        finite = bands[np.isfinite(bands)]
        bands = np.nan_to_num((bands - finite.min()) / max(np.ptp(finite), 1e-9)) * 255
    pixels = bands.clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
