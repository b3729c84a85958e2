import numpy as np
import pytest
from PIL import Image

from ssl_dml.data.folders import FolderSource
from ssl_dml.data.survey import survey


def found(folder, **given):
    defaults = {"channels": None, "image_size": None, "value_range": None}
    return survey(FolderSource(folder), **{**defaults, **given})


def test_images_of_one_small_size_keep_it(tmp_path, capsys):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    assert (found(tmp_path).size, found(tmp_path).channels) == (30, 1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("sizes", "size", "words"),
    [([(300, 400)], 224, "images are large"), ([(8, 8), (9, 9)], 64, "images differ in size")],
)
def test_other_sizes_are_chosen_and_said(tmp_path, capsys, sizes, size, words):
    for i, shape in enumerate(sizes):
        Image.new("L", shape).save(tmp_path / f"{i}.png")
    assert found(tmp_path).size == size
    assert words in capsys.readouterr().out
    assert found(tmp_path, image_size=10).size == 10


def test_the_most_channels_win(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert found(tmp_path).channels == 3
    assert found(tmp_path, channels=1).channels == 1


def test_the_range_of_many_bits_is_measured(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[10, 500]], np.uint16))
    decoder = found(tmp_path)
    assert (decoder.low, decoder.high) == (10, 500)
    assert found(tmp_path, value_range=(0.0, 9.0)).high == 9


def test_a_damaged_image_is_left_to_decoding(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no")
    assert found(tmp_path).size == 8


def test_the_range_is_that_of_finite_values(tmp_path):
    for i, odd in enumerate([np.nan, np.inf, -np.inf]):
        np.save(tmp_path / f"{i}.npy", np.array([[odd, 0.5, 2.0 + i]], np.float32))
    np.save(tmp_path / "3.npy", np.array([[np.nan, np.nan, 99.0]], np.float32))
    source = FolderSource(tmp_path)
    decoder = survey(source, channels=None, image_size=None, value_range=None)
    assert (decoder.low, decoder.high) == (0.5, 4.0)
    assert source.notes == [
        "3 of 4 images that were looked at hold values that are not finite; NaN becomes black"
    ]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00v\x00{"])
def test_a_damaged_array_is_left_to_decoding(tmp_path, content):
    np.save(tmp_path / "a.npy", np.zeros((8, 8), np.uint8))
    (tmp_path / "b.npy").write_bytes(content)
    assert found(tmp_path).size == 8
