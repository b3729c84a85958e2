"""What a browser sends: bodies of bounded size and time, and the images in them."""

import asyncio
import base64
import binascii
import io
import re
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ssl_dml.data import budget
from ssl_dml.data.decode import open_pixels
from ssl_dml.data.images import known, open_image
from ssl_dml.data.sources import RawImage
from ssl_dml.reading import reading
from ssl_dml.types import ConfigError, one_line

Embed = Callable[[RawImage], Float[np.ndarray, " dim"]]

MAX_BYTES = 32 << 20  # of an image
MAX_PIXELS = 50_000_000  # of an image
BYTES_A_PIXEL = 16  # of an image that is turned upright and resized
DRAINED = 4  # times the limit that is still read of a larger body, so that the refusal is heard
SLOWEST = 60.0  # seconds of an upload
SIDE = 112  # pixels of the thumbnail of a query
PERCENTILES = 1, 99  # of the values of an image of more than 8 bits, which become black and white


async def read_body(request: Request, most: int, *, seconds: float | None = None) -> bytes:
    """The body of a request; one that is larger is never held, and a slower one given up.

    Args:
        request: Of whom.
        most: Largest number of bytes.
        seconds: How long it may take; None for :data:`SLOWEST`.

    Raises:
        HTTPException: 413 or 408.
    """
    seconds = SLOWEST if seconds is None else seconds
    closing = {"Connection": "close"}
    too_large = HTTPException(413, f"This has more than {most >> 20} MB.", closing)
    if int(request.headers.get("content-length", 0)) > DRAINED * most:
        raise too_large
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > DRAINED * most:
                    raise too_large
                if size <= most:
                    body += chunk
    except TimeoutError as error:
        sentence = f"The upload took more than {seconds:.0f} seconds."
        raise HTTPException(408, sentence, closing) from error
    if size > most:
        raise too_large
    return bytes(body)


def embedded(data: bytes, embed: Embed) -> dict[str, str]:
    """Embedding and thumbnail of an image, as text; one that takes much memory has it alone.

    Args:
        data: An image in a format that is told by content, whatever its name says.
        embed: From an image to its embedding.

    Raises:
        ConfigError: In one line, if it is none, is damaged, or has too many pixels.
    """
    with budget.sample():
        pixels = _decoded(data)
        try:
            return {"embedding": pack(embed(pixels)), "thumbnail": thumbnail(pixels)}
        except ValueError as error:
            cause = error.__cause__  # the reason without the name of a sample
            reason = one_line(cause if isinstance(cause, Exception) else error)
            raise ConfigError(f"This file cannot be embedded: {reason}") from error


def _decoded(data: bytes) -> RawImage:
    with reading("This file"):
        try:
            image = open_image(io.BytesIO(data), MAX_PIXELS, known())
        except ValueError as error:  # the key that it names is of a run
            limit = f", and at most {MAX_PIXELS:,} are read"
            raise ValueError(re.sub(", and data.max_pixels.*", limit, str(error))) from error
        width, height = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
        budget.take(BYTES_A_PIXEL * width * height)
        return open_pixels(image)


def thumbnail(pixels: RawImage) -> str:
    """A small image of what was decoded, as an address of its own content."""
    if isinstance(pixels, np.ndarray):
        bands = pixels[:, :, :3] if pixels.shape[2] > 2 else pixels[:, :, 0]  # noqa: PLR2004
        low, high = np.nanpercentile(bands, PERCENTILES)
        scaled = np.nan_to_num((bands - low) * (255 / max(high - low, 1e-9)))
        pixels = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    scale, buffer = min(1, SIDE / max(pixels.size)), io.BytesIO()
    width, height = (max(1, round(side * scale)) for side in pixels.size)
    pixels.resize((width, height)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pack(embedding: Float[np.ndarray, " dim"]) -> str:
    """An embedding as text, which the page keeps and shows again."""
    return base64.b64encode(np.asarray(embedding, "<f4").tobytes()).decode()


def unpack(text: str, dim: int) -> Float[np.ndarray, " dim"]:
    """The embedding in such a text.

    >>> unpack(pack(np.array([0.5, 1.0])), 2)
    array([0.5, 1. ], dtype=float32)

    Raises:
        ValueError: If it is none of ``dim`` finite numbers.
    """
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise ValueError("an embedding is damaged") from error
    if values.shape != (dim,) or not np.isfinite(values).all():
        raise ValueError(f"an embedding must be {dim} finite numbers")
    return values.astype(np.float32)
