"""What a browser may send."""

import asyncio
import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ssl_dml.serve import uploads
from ssl_dml.serve.uploads import embedded, pack, read_body, thumbnail, unpack
from ssl_dml.types import ConfigError


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(data):
    """What is embedded of a file."""
    found = []
    embedded(data, lambda pixels: found.append(pixels) or np.zeros(1, np.float32))
    return found[0]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_images_are_told_by_their_content(format):
    pixels = decode(encoded(Image.new("RGB", (20, 10), (200, 30, 30)), format))
    assert (pixels.size, pixels.mode) == ((20, 10), "RGB")


def test_an_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(Image.new("RGB", (20, 10)), "JPEG", exif=exif)).size == (10, 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"%PDF-1.7\n",
        b"\x93NUMPY\x01\x00",
        b"P",
        b"\x89PNG\r\n\x1a\n",
        b"\x00" * 1000,
    ],
)
def test_what_is_no_image_is_refused_in_a_line(data):
    with pytest.raises(ConfigError, match=r"^This file (is|cannot be read)") as caught:
        decode(data)
    assert "\n" not in str(caught.value)


def test_no_interpreter_of_another_language_is_started(tmp_path):
    file = tmp_path / "a.eps"
    Image.new("RGB", (9, 9)).save(file)  # Pillow reads it by ghostscript
    with pytest.raises(ConfigError, match="is no image"):
        decode(file.read_bytes())


def test_what_the_model_cannot_take_is_told():
    def embed(_):
        raise ValueError("sample 0 cannot be embedded") from ValueError("has 5 channels")

    with pytest.raises(ConfigError, match=r"^This file cannot be embedded: has 5 channels$"):
        embedded(encoded(Image.new("L", (4, 4))), embed)


def test_half_a_file_is_damaged():
    whole = encoded(Image.effect_noise((64, 64), 50), "JPEG")
    with pytest.raises(ConfigError, match=r"This file cannot be read"):
        decode(whole[: len(whole) // 2])


def test_a_bomb_is_refused_by_its_header():
    with pytest.raises(ConfigError, match="pixels"):
        decode(png(60_000, 60_000, zlib.compress(bytes(1000))))


def test_more_than_the_limit_is_refused_and_the_limit_is_not(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PIXELS", 100)
    decode(encoded(Image.new("L", (10, 10))))
    with pytest.raises(ConfigError, match="101"):
        decode(encoded(Image.new("L", (101, 1))))


@pytest.mark.parametrize(
    "pixels",
    [
        np.linspace(0, 40_000, 600).reshape(20, 30, 1).astype(np.uint16),
        np.random.default_rng(0).random((20, 30, 5)).astype(np.float32),
        np.full((20, 30, 3), np.nan, np.float32),
        Image.new("L", (300, 200), 9),
    ],
)
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_a_thumbnail_is_a_small_png(pixels):
    address = thumbnail(pixels)
    kind, _, data = address.partition(",")
    small = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/png;base64"
    assert small.format == "PNG"
    assert max(small.size) <= 112
    assert small.width / small.height == pytest.approx(1.5, abs=0.1)


def test_a_thumbnail_has_a_pixel_at_least():
    small = Image.open(io.BytesIO(base64.b64decode(thumbnail(Image.new("L", (9000, 1)))[22:])))
    assert small.size == (112, 1)


def test_sixteen_bits_fill_the_range_of_a_thumbnail():
    pixels = np.linspace(1000, 2000, 600).reshape(20, 30, 1).astype(np.uint16)
    small = Image.open(io.BytesIO(base64.b64decode(thumbnail(pixels).partition(",")[2])))
    assert small.getextrema() == (0, 255)


def test_an_embedding_comes_back():
    values = np.random.default_rng(0).normal(size=7).astype(np.float32)
    assert np.array_equal(unpack(pack(values), 7), values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "====",
        "ü",
        pack(np.ones(3)),
        pack(np.array([1, np.nan])),
        pack(np.array([1, np.inf])),
        "A" * 9,
    ],
)
def test_a_damaged_embedding_is_refused(text):
    with pytest.raises(ValueError, match=r"^an embedding"):
        unpack(text, 2)


def request(chunks, seconds=0.0, **headers):
    """A request whose body comes in chunks, with a pause before each."""
    rest = iter(chunks)

    async def receive():
        await asyncio.sleep(seconds)
        body = next(rest, None)
        return {"type": "http.request", "body": body or b"", "more_body": body is not None}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def test_a_body_of_the_limit_is_read():
    assert asyncio.run(read_body(request([b"ab", b"cd"]), 4)) == b"abcd"


def test_a_larger_body_is_not_read_on():
    read = []

    def chunks():
        for _ in range(1000):
            read.append(1)
            yield b"x" * 1000

    with pytest.raises(HTTPException) as caught:
        asyncio.run(read_body(request(chunks()), 3000))
    assert caught.value.status_code == 413
    assert len(read) == 13  # four times the limit, so that who sends a little too much is told


def test_a_body_that_promises_more_is_not_read_at_all():
    chunks = iter([b"x"])
    with pytest.raises(HTTPException) as caught:
        asyncio.run(read_body(request(chunks, content_length="17"), 4))
    assert caught.value.status_code == 413
    assert next(chunks) == b"x"


def test_a_slow_body_is_given_up():
    with pytest.raises(HTTPException) as caught:
        asyncio.run(read_body(request([b"x"] * 1000, seconds=0.01), 10_000, seconds=0.05))
    assert caught.value.status_code == 408
