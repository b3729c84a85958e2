"""Small JPEGs of samples, made while an index is built."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

from PIL import Image

from ssl_dml.tables import TableInfo
from ssl_dml.types import ConfigError

SIDE = 96  # pixels
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
        if not self._possible():
            return [b""] * len(paths)
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._of, paths))
        reasons = [one for one in found if isinstance(one, str)]
        self.failed += len(reasons)
        self.made += len(found) - len(reasons)
        self.reason = self.reason or (reasons[0] if reasons else "")
        return [b"" if isinstance(one, str) else one for one in found]

    def _possible(self) -> bool:
        wanted = self.side > 0 and self.info.modality == "image"
        if wanted and not self.info.data.get("source"):
            self.failed, self.reason = TRIED, "the table does not say where the images are"
        return wanted and (self.made > 0 or self.failed < TRIED)

    def _of(self, path: str) -> bytes | str:
        from ssl_dml.data.originals import open_sample  # a search needs no data loader

        try:
            return jpeg(open_sample(self.info.data, path), self.side)
        except (ConfigError, OSError, ValueError) as error:
            return str(error)

    def __str__(self) -> str:
        """What was made, in words."""
        if not self.failed:
            return f"{self.made:,} thumbnails"
        if not self.made:
            return f"no thumbnails: {self.reason}"
        return f"{self.made:,} thumbnails; {self.failed:,} samples without, such as: {self.reason}"


def jpeg(image: Image.Image, side: int) -> bytes:
    r"""An RGB image as a JPEG, reduced to so many pixels a side.

    >>> jpeg(Image.new("RGB", (300, 200)), 96)[:2]
    b'\xff\xd8'
    """
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
