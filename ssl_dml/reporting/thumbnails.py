"""Small images of samples, one by one or on one sheet, as parts of a page."""

import base64
import io
import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from ssl_dml.augment import unsquash
from ssl_dml.data import SampleSet
from ssl_dml.reporting.images import drawn

SIDE = 64  # pixels of the longer side
QUALITY = 80
CHUNK = 64


def thumbnails(samples: SampleSet, rows: Int[Tensor, " rows"]) -> list[Image.Image]:
    """Some samples as a network sees them at test time, at most 64 pixels wide and high."""
    found = list[Image.Image]()
    for chunk in rows.split(CHUNK):
        seen = unsquash(samples[chunk][0], samples.aspects_at(chunk), samples.spec)
        values = (drawn(seen, samples.spec) * 255).round().to(torch.uint8)
        found += [small(Image.fromarray(v.squeeze(2).numpy())) for v in values.permute(0, 2, 3, 1)]
    return found


def small(image: Image.Image, side: int = SIDE) -> Image.Image:
    """A copy that fits into a square, in gray or color; one that fits already stays as large."""
    image = image.copy() if image.mode in ("L", "RGB") else image.convert("RGB")
    image.thumbnail((side, side))
    return image


def data_uri(image: Image.Image) -> str:
    """An image as text that a page can hold: PNG where it is small, else JPEG.

    >>> data_uri(Image.new("L", (2, 2)))[:22]
    'data:image/png;base64,'
    """
    kinds = list[tuple[int, str, bytes]]()
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": QUALITY})):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        kinds.append((buffer.tell(), kind, buffer.getvalue()))
    _, kind, content = min(kinds)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def sprite(images: Sequence[Image.Image | None], side: int) -> tuple[Image.Image, int, int, int]:
    """All images on one sheet, row by row; None leaves a cell gray.

    Returns:
        The sheet, its number of columns, and width and height of a cell.

    >>> sheet, columns, width, height = sprite([Image.new("L", (8, 4))] * 5, 4)
    >>> sheet.size, columns, width, height
    ((12, 4), 3, 4, 2)
    """
    cells = [None if image is None else small(image, side) for image in images]
    sizes = [cell.size for cell in cells if cell is not None] or [(side, side)]
    width, height = (max(sizes) for sizes in zip(*sizes, strict=True))
    gray = all(cell is None or cell.mode == "L" for cell in cells)
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    sheet = Image.new("L" if gray else "RGB", (columns * width, rows * height), "gray")
    for i, cell in enumerate(cells):
        if cell is not None:
            x, y = i % columns * width, i // columns * height
            sheet.paste(cell, (x + (width - cell.width) // 2, y + (height - cell.height) // 2))
    return sheet, columns, width, height
