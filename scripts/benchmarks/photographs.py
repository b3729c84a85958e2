"""Photographs of a camera's size, made from those that scikit-image has."""

import io
from importlib import import_module
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ssl_dml.types import ConfigError

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field", "camera")
DISTINCT = 40
NOISE = 5.0  # standard deviation of a sensor's, in gray levels
QUALITY = 92
COMMENT = b"\xff\xfe"  # marker of a comment in a JPEG file


def make_photographs(
    folder: Path, *, count: int, size: tuple[int, int] = (4000, 3000), distinct: int = DISTINCT
) -> None:
    """Fill a folder with JPEG files, unless it holds as many already.

    A few are made, each from another part of a photograph, enlarged and with noise; the others
    are copies that differ in a comment.

    Args:
        folder: Where they go, ``distinct`` of them in each of its sub-folders.
        count: How many.
        size: Width and height in pixels.
        distinct: How many differ.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    if sum(1 for _ in folder.glob("*/*.jpg")) == count:
        return
    originals, rng, made = _originals(), np.random.default_rng(0), list[bytes]()
    for number in range(count):
        if number < distinct:
            made.append(_photograph(originals[number % len(originals)], size, rng))
        place = folder / f"{number // distinct:04d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:05d}.jpg").write_bytes(_marked(made[number % distinct], number))


def _originals() -> list[Image.Image]:
    """Photographs of scikit-image that its package holds."""
    try:
        data = import_module("skimage.data")
    except ImportError as error:
        raise ConfigError(
            "the photographs are made from those of scikit-image: pip install scikit-image"
        ) from error
    return [Image.fromarray(getattr(data, name)()).convert("RGB") for name in NAMES]


def _photograph(original: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> bytes:
    """A part of an original, enlarged, with noise, as a JPEG file."""
    share = rng.uniform(0.5, 0.9)
    width = min(original.width, original.height * size[0] / size[1]) * share
    height = width * size[1] / size[0]
    left = rng.uniform(0, original.width - width)
    top = rng.uniform(0, original.height - height)
    box = (left, top, left + width, top + height)
    large = np.asarray(original.resize(size, Image.Resampling.BICUBIC, box=box))
    return _encoded(_noisy(large, rng))


def _noisy(
    image: UInt8[np.ndarray, "height width channels"], rng: np.random.Generator
) -> UInt8[np.ndarray, "height width channels"]:
    noise = rng.standard_normal(image.shape, np.float32) * NOISE
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _encoded(image: UInt8[np.ndarray, "height width channels"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _marked(file: bytes, number: int) -> bytes:
    """The same JPEG file with a comment."""
    text = f"{number:08d}".encode()
    return file[:2] + COMMENT + (len(text) + 2).to_bytes(2, "big") + text + file[2:]
