"""What a browser sends: bodies of bounded size and time, and the images in them."""

import asyncio
import base64
import binascii
import io

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

MAX_BYTES = 32 << 20  # of an image
MAX_PIXELS = 64_000_000  # of an image: more than any phone's camera but the largest
SLOWEST = 60.0  # seconds of an upload
SIDE = 112  # pixels of the thumbnail of a query
PERCENTILES = 1, 99  # of the values of an image of more than 8 bits, which become black and white


async def read_body(request: Request, most: int, *, seconds: float | None = None) -> bytes:
    """The body of a request; refused when it is larger or slower, and not read on then.

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
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError as error:
        sentence = f"The upload took more than {seconds:.0f} seconds."
        raise HTTPException(408, sentence, closing) from error
    return bytes(body)


def decode(data: bytes) -> RawImage:
    """An upright image in one of the formats that are told by content, whatever its name says.

    Raises:
        ConfigError: In one line, if it is none, is damaged, or has too many pixels.
    """
    with reading("This file"), budget.sample():
        return open_pixels(open_image(io.BytesIO(data), MAX_PIXELS, known()))


def thumbnail(pixels: RawImage) -> str:
    """A small image of what was decoded, as an address of its own content."""
    if isinstance(pixels, np.ndarray):
        bands = pixels[:, :, :3] if pixels.shape[2] > 2 else pixels[:, :, 0]  # noqa: PLR2004
        low, high = np.nanpercentile(bands, PERCENTILES)
        scaled = np.nan_to_num((bands - low) * (255 / max(high - low, 1e-9)))
        pixels = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    small, buffer = pixels.copy(), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(buffer, "PNG")
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
