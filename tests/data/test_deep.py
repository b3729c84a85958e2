import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.deep import read_png, read_tiff
from ssl_dml.data.images import open_image, read_file

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 4096, (6, 9, 3)).astype(np.uint16)


def png16(array):
    """A PNG by hand, since Pillow cannot write one of 16-bit color."""
    height, width, channels = array.shape

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_color_of_sixteen_bits_keeps_every_bit(tmp_path):
    (tmp_path / "a.png").write_bytes(png16(PIXELS))
    assert np.array_equal(read_file(tmp_path / "a.png", 1000), PIXELS)
    assert np.array_equal(open_image(io.BytesIO(png16(PIXELS)), 1000), PIXELS)


@pytest.mark.parametrize("channels", [1, 3])
def test_opacity_of_sixteen_bits_is_laid_over_white(channels):
    seen = np.full((2, 2, channels), 1000, np.uint16)
    opacity = np.array([[[0], [65535]], [[32768], [65535]]], np.uint16)
    found = read_png(png16(np.concatenate([seen, opacity], axis=2)))
    assert found.shape == (2, 2, channels)
    assert found[:, :, 0].tolist() == [[65535, 1000], [33267, 1000]]


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (PIXELS, {"photometric": "rgb"}),
        (PIXELS, {"photometric": "rgb", "compression": "lzw"}),
        (PIXELS.astype(np.float32) / 4096, {"photometric": "rgb"}),
        (RNG.integers(0, 256, (6, 9, 7)).astype(np.uint8), {"photometric": "minisblack"}),
        (RNG.integers(0, 256, (6, 9, 4)).astype(np.uint8),
         {"photometric": "rgb", "extrasamples": ["unspecified"]}),
        (RNG.integers(0, 9999, (6, 9, 12)).astype(np.uint16),
         {"photometric": "minisblack", "bigtiff": True}),
    ],
)  # fmt: skip
def test_tiff_keeps_its_bits_and_bands(tmp_path, array, options):
    tifffile.imwrite(tmp_path / "a.tif", array, planarconfig="contig", **options)
    for found in (
        read_file(tmp_path / "a.tif", 1000),
        open_image(io.BytesIO((tmp_path / "a.tif").read_bytes()), 1000),
    ):
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


def test_bands_before_height_are_moved_last(tmp_path):
    bands = np.moveaxis(PIXELS, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", bands, planarconfig="separate", photometric="rgb")
    assert np.array_equal(read_tiff(tmp_path / "a.tif"), PIXELS)


def test_what_pillow_reads_whole_is_left_to_it(tmp_path):
    for name, image in {
        "rgb.png": Image.new("RGB", (4, 4)),
        "clear.png": Image.new("RGBA", (4, 4)),
        "clear.tif": Image.new("RGBA", (4, 4)),
        "gray.tif": Image.new("I;16", (4, 4)),
        "cmyk.tif": Image.new("CMYK", (4, 4)),
    }.items():
        image.save(tmp_path / name)
        assert isinstance(read_file(tmp_path / name, 1000), Image.Image), name


def test_a_data_set_of_few_bits_in_sixteen_uses_all_levels(tmp_path):
    for number in range(3):
        array = np.linspace(0, 3000, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint16)
        (tmp_path / f"{number}.png").write_bytes(png16(array))
    train = load_train(DataConfig(source=str(tmp_path)))
    assert train.spec.channels == 3
    assert len(np.unique(train.samples)) == 256


@pytest.mark.parametrize("data", [b"II*\0", b"II*\0\x08\0\0\0\xff\xff" + b"x" * 99])
def test_a_damaged_tiff_is_one_line(tmp_path, data):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ValueError, match="TIFF") as caught:
        read_file(tmp_path / "a.tif", 1000)
    assert "\n" not in str(caught.value)


def test_without_tifffile_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ValueError, match=r"pip install 'ssl_dml\[tiff\]'"):
        read_file(tmp_path / "a.tif", 1000)


def test_a_damaged_png_is_one_line():
    data = png16(PIXELS)
    with pytest.raises(ValueError, match="is a damaged PNG"):
        read_png(data[: len(data) // 2])
