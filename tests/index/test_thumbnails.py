import io

import numpy as np
import pytest
from PIL import Image

from ssl_dml.index.thumbnails import TRIED, Thumbnails
from ssl_dml.tables import TableInfo


def info(folder, **changes):
    return TableInfo(**{"rows": 1, "dim": 1, "data": {"source": str(folder)}, **changes})


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (400, 200), (250, 10, 20)).save(tmp_path / "wide.png")
    Image.new("RGBA", (10, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    np.save(tmp_path / "deep.npy", np.arange(100, dtype=np.uint16).reshape(10, 10))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "phone.jpg", exif=turned)
    (tmp_path / "broken.png").write_bytes(b"no image")
    return tmp_path


def test_samples_are_small_upright_and_over_white(folder):
    names = ["wide.png", "clear.png", "deep.npy", "phone.jpg", "broken.png", "gone.png"]
    thumbs = Thumbnails(info(folder), 50)
    made = thumbs.of(names)
    images = [Image.open(io.BytesIO(one)) for one in made[:4]]
    assert [image.size for image in images] == [(50, 25), (10, 20), (10, 10), (20, 40)]
    assert {image.format for image in images} == {"JPEG"}
    assert images[1].getpixel((5, 5)) == (255, 255, 255)
    assert made[4:] == [b"", b""]
    assert str(thumbs).startswith("4 thumbnails; 2 samples without, such as: ")


def test_where_nothing_can_be_opened_it_is_given_up(tmp_path, monkeypatch):
    thumbs = Thumbnails(info(tmp_path), 50)
    assert thumbs.of(["a.png"] * TRIED) == [b""] * TRIED
    monkeypatch.setattr("ssl_dml.data.originals.open_sample", pytest.fail)
    assert thumbs.of(["b.png"]) == [b""]
    assert str(thumbs).startswith(f"no thumbnails: {tmp_path / 'a.png'} cannot be read: No such")


@pytest.mark.parametrize(
    ("changes", "side", "words"),
    [
        ({"data": {}}, 50, "no thumbnails: the table does not say where the images are"),
        ({"modality": "sequence"}, 50, "0 thumbnails"),
        ({}, 0, "0 thumbnails"),
    ],
)
def test_there_are_none_of_some_tables(folder, changes, side, words):
    thumbs = Thumbnails(info(folder, **changes), side)
    assert thumbs.of(["wide.png"]) == [b""]
    assert str(thumbs) == words
