import numpy as np
import pytest
from PIL import Image

from ssl_dml.data.originals import open_sample
from ssl_dml.types import ConfigError


@pytest.fixture
def data(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((3, 4), 7, np.uint8)).save(tmp_path / "images/a.png")
    (tmp_path / "images/b.png").write_bytes(b"no image")
    Image.new("L", (2, 2)).save(tmp_path / "secret.png")
    return {"source": str(tmp_path / "images")}


def test_an_image_is_found_by_its_name(data):
    image = open_sample(data, "a.png")
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (4, 3), (7, 7, 7))


@pytest.mark.parametrize("name", ["b.png", "c.png", "../secret.png", "/etc/passwd", "."])
def test_what_is_no_image_of_the_source_is_refused(data, name):
    with pytest.raises(
        ConfigError, match=r"cannot be read|is no image|is not in|is a folder|No such"
    ):
        open_sample(data, name)
