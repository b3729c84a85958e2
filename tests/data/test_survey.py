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
