"""Images of samples as they were brought, found again by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
        found = read_file(path, MAX_PIXELS)
        image = Image.fromarray(found) if isinstance(found, np.ndarray) else found
        return image.convert("RGB")
