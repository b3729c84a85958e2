"""Small JPEGs of samples, made while an index is built."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

from PIL import Image

from ssl_dml.data.originals import open_sample
from ssl_dml.tables import TableInfo
from ssl_dml.types import ConfigError

TRIED = 100  # samples that cannot be opened, after which no other is tried


@final
class Thumbnails:
    """Thumbnails of the samples of a table, as far as they can be opened.

    Args:
        info: The table.
        side: Largest side in pixels; 0 for no thumbnails.
    """

    def __init__(self, info: TableInfo, side: int) -> None:
        self.info, self.side, self.made, self.failed = info, side, 0, 0
        self.reason = ""

    def of(self, paths: Sequence[str]) -> list[bytes]:
        """A JPEG of each sample; empty bytes where there is none."""
        if not self.side or self.info.modality != "image":
            return [b""] * len(paths)
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self._of, paths))

    def _of(self, path: str) -> bytes:
        if self.failed >= TRIED and not self.made:
            return b""
        try:
            found = jpeg(open_sample(self.info.data, path), self.side)
        except (ConfigError, OSError, ValueError) as error:
            self.failed += 1
            self.reason = self.reason or str(error)
            return b""
        self.made += 1
        return found

    def __str__(self) -> str:
        """What was made, in words."""
        if not self.failed:
            return f"{self.made:,} thumbnails"
        if not self.made:
            return f"no thumbnails: {self.reason}"
        return f"{self.made:,} thumbnails; {self.failed:,} samples without, such as: {self.reason}"


def jpeg(image: Image.Image, side: int) -> bytes:
    r"""An image as a JPEG, reduced to so many pixels a side; transparent parts are white.

    >>> jpeg(Image.new("RGB", (300, 200)), 96)[:2]
    b'\\xff\\xd8'
    """
    with image:
        image.draft("RGB", (side, side))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
        image.thumbnail((side, side))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=80)
    return file.getvalue()
