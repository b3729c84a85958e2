import io
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from ssl_dml.data.images import MAX_PIXELS, cell_image, is_image, open_image, read_file

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n"
HEIC = b"\0\0\0\x18ftypheic" + bytes(500)


def encoded(form="PNG", size=(4, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 9, 9)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "form"), [
    ("a.jfif", "JPEG"), ("a.AVIF", "AVIF"), ("a.jpe", "JPEG"), ("a", "JPEG"), ("photo.2019", "PNG"),
    ("0f3a", "WEBP"), ("scan", "TIFF"), ("b", "AVIF"), ("c", "JPEG2000"), ("a.j2k", "JPEG2000"),
])  # fmt: skip
def test_images_are_known_by_suffix_or_content(tmp_path, name, form):
    (tmp_path / name).write_bytes(encoded(form))
    assert is_image(tmp_path / name)
    assert read_file(tmp_path / name, 16).size == (4, 4)


@pytest.mark.parametrize("name", ["README", "notes.txt", "x.json", "gone/file"])
def test_other_files_are_not(tmp_path, name):
    if "/" not in name:
        (tmp_path / name).write_text("P6 is how some text may begin")
    assert not is_image(tmp_path / name)


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is empty"), (POINTER.encode(), "is a pointer of git-lfs.*: run git lfs pull"),
    (b"<html>404</html>", "is no image that Pillow can read"),
])  # fmt: skip
def test_what_is_no_image_is_said(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    for read in (lambda: read_file(tmp_path / "a.png", 16), lambda: cell_image(content, 16)):
        with pytest.raises(ValueError, match=words):
            read()


def test_the_limit_of_pixels_is_that_of_the_key(tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "a.png"
    Image.new("1", (20000, 9500)).save(path)
    with pytest.raises(ValueError, match=r"has 190,000,000 pixels, and data.max_pixels is 178,956"):
        open_image(path, MAX_PIXELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_image(path, 190_000_000) as image:
            assert image.size == (20000, 9500)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("cell", [
    encoded(), {"bytes": encoded(), "path": None}, {"bytes": encoded()},
    np.zeros((4, 4, 3), np.uint8).tolist(),
])  # fmt: skip
def test_cells_of_tables(cell):
    image = cell_image(cell, 16)
    assert np.asarray(image).shape == (4, 4, 3)


@pytest.mark.parametrize("cell", [None, {"bytes": None, "path": None}])
def test_an_empty_cell_is_said(cell):
    with pytest.raises(ValueError, match="is empty"):
        cell_image(cell, 16)


def test_an_empty_array_is_said(tmp_path):
    (tmp_path / "a.npy").touch()
    with pytest.raises(ValueError, match="is empty"):
        read_file(tmp_path / "a.npy", 16)


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="HEIC can be read")
def test_heic_without_its_library_names_it(tmp_path):
    (tmp_path / "a.heic").write_bytes(HEIC)
    (tmp_path / "a.jpg").write_bytes(HEIC)
    assert not is_image(tmp_path / "a.heic")
    with pytest.raises(ValueError, match=r"is HEIC: pip install 'ssl_dml\[heif\]'"):
        read_file(tmp_path / "a.jpg", 16)


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 0, 0))).save(tmp_path / "a.heic")
    assert is_image(tmp_path / "a.heic")
    assert read_file(tmp_path / "a.heic", 4096).size == (64, 64)
