"""Files of images: which there are, and how one is opened."""

import io
import math
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format
from PIL import Image, UnidentifiedImageError, features

from ssl_dml.data.budget import take
from ssl_dml.data.deep import is_deep, is_tiff, read_png, read_tiff, refuse_pixels
from ssl_dml.data.sources import RawImage
from ssl_dml.data.walk import suffix_of
from ssl_dml.reading import regular

MAX_PIXELS = 178_956_970  # where Pillow stops, twice the limit at which it warns
IMAGE_TYPES = (
    "apng bmp dib gif j2k jfif jp2 jpe jpeg jpf jpg jpx npy pbm pgm png pnm ppm qoi tga tif tiff"
    " webp"
)
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
# Formats that Pillow tells by their first bytes, for files whose name does not tell.
TOLD_BY_CONTENT = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
POINTER = b"version https://git-lfs"
BYTES_A_PIXEL = 8  # of four bands of 16 bits
HEAD = 32  # bytes that tell what a file is
_LOCK = threading.Lock()


def _readable() -> tuple[frozenset[str], dict[str, str]]:
    """Suffixes that can be read here, and what to do about others."""
    suffixes = {f".{name}" for name in IMAGE_TYPES.split()}
    hints: dict[str, str] = {}
    if find_spec("pillow_heif") is None:
        hints |= dict.fromkeys(HEIF_SUFFIXES, "pip install 'ssl_dml[heif]'")
    else:
        import_module("pillow_heif").register_heif_opener()
        suffixes |= {*HEIF_SUFFIXES}
    if features.check("avif"):
        suffixes |= {".avif", ".avifs"}
    else:
        hints[".avif"] = "pip install 'pillow>=11.3'"
    return frozenset(suffixes), hints


SUFFIXES, HINTS = _readable()


def is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, or by its content if its name has none."""
    suffix = suffix_of(path)
    if suffix:
        return suffix in SUFFIXES
    try:
        _identify(path, known()).close()
    except Exception:  # decoders raise anything on other bytes
        return False
    return True


def known() -> list[str]:
    """Formats to tell files without suffix by, of those that this Pillow reads."""
    Image.init()
    return [name for name in TOLD_BY_CONTENT if name in Image.OPEN]


def read_file(path: Path, max_pixels: int) -> RawImage:
    """Open an image or an array in a file; no pipe, device or folder."""
    if regular(path).suffix.lower() != ".npy":
        return open_image(path, max_pixels)
    with path.open("rb") as file:
        return read_array(file, max_pixels)


def read_array(file: BinaryIO, max_pixels: int) -> np.ndarray:
    """Read an array of at most so many pixels, if its file has as many bytes as it promises.

    Raises:
        ValueError: If it has not, or is no array of numbers.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not size:
        raise ValueError("is empty")
    readers = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}
    header = readers.get(format.read_magic(file))
    if header is None:
        raise ValueError("is no array of numbers")
    shape, _, dtype = header(file)
    refuse_pixels(math.prod(sorted(shape)[-2:]), max_pixels)
    if min(shape, default=1) < 0 or dtype.hasobject:
        raise ValueError("is no array of numbers")
    promised = math.prod(shape) * dtype.itemsize
    if promised > size - file.tell():
        raise ValueError(f"is cut off: it promises {promised:,} bytes")
    take(promised)
    file.seek(0)
    return np.load(file, allow_pickle=False)


def open_image(
    file: Path | io.BytesIO, max_pixels: int, formats: list[str] | None = None
) -> RawImage:
    """Open an image of at most so many pixels; as an array if Pillow would lose bits or bands.

    Args:
        file: A file or its bytes.
        max_pixels: Largest number of pixels.
        formats: Those of Pillow that it may have; None for all.

    Raises:
        ValueError: If it has more, or is no image; the message says what it is instead.
        OSError: If the file cannot be opened.
    """
    try:
        image = _identify(file, formats)
    except UnidentifiedImageError as error:
        if is_tiff(_head(file)):
            return read_tiff(file, max_pixels)
        raise ValueError(_what_it_is(file)) from error
    pixels = image.width * image.height
    try:
        refuse_pixels(pixels, max_pixels)
    except ValueError:
        image.close()
        raise
    take(pixels * (BYTES_A_PIXEL if is_deep(image) else len(image.getbands())))
    if not is_deep(image):
        return image
    with image:
        if image.format == "TIFF":
            return read_tiff(file, max_pixels)
        return read_png(file.read_bytes() if isinstance(file, Path) else file.getvalue())


def _identify(file: Path | io.BytesIO, formats: list[str] | None = None) -> Image.Image:
    """Open an image of any number of pixels; one of these formats, or of all."""
    with _LOCK:  # Pillow's own limit is one for all threads
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _head(file: Path | io.BytesIO) -> bytes:
    """The first bytes of a file."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(HEAD)
    return file.getvalue()[:HEAD]


def _what_it_is(file: Path | io.BytesIO) -> str:
    """Say why a file is no image that can be read."""
    head = _head(file)
    if not head:
        return "is empty"
    if head.startswith(POINTER):
        return "is a pointer of git-lfs, not the file: run git lfs pull"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1") and HINTS.get(".heic"):
        return f"is HEIC: {HINTS['.heic']}"
    return "is no image that Pillow can read"


def cell_image(cell: Any, max_pixels: int) -> RawImage:  # noqa: ANN401
    """Open an image in a cell of a table: bytes, bytes or a path in a struct, or an array.

    Raises:
        ValueError: If the cell is empty, or is no image.
    """
    if isinstance(cell, dict):
        data, path = cell.get("bytes"), cell.get("path")
        cell = data if data is not None else (Path(path) if path else None)
    if cell is None:
        raise ValueError("is empty")
    if isinstance(cell, bytes):
        return open_image(io.BytesIO(cell), max_pixels)
    return read_file(cell, max_pixels) if isinstance(cell, Path) else np.asarray(cell)
