import base64
import io

import numpy as np
import torch
from PIL import Image

from ssl_dml.data import DataConfig, load_train
from ssl_dml.reporting.thumbnails import data_uri, small, sprite, thumbnails


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_thumbnails_are_what_a_network_sees(tmp_path):
    for name, value in (("a", 10), ("b", 200)):
        Image.new("RGB", (200, 100), (value, value, 0)).save(tmp_path / f"{name}.png")
    samples = load_train(DataConfig(source=str(tmp_path), image_size=96))
    first, second = thumbnails(samples, torch.tensor([0, 1]))
    assert first.size == (64, 64)
    assert first.getpixel((5, 5)) == (10, 10, 0)
    assert second.getpixel((60, 60)) == (200, 200, 0)


def test_an_image_as_text_is_itself():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    plain, noisy = Image.new("L", (40, 40), 7), Image.fromarray(noise)
    assert opened(data_uri(plain)).getpixel((3, 3)) == 7
    assert np.abs(np.asarray(opened(data_uri(noisy)), int) - noise).mean() < 30
    assert opened(data_uri(small(Image.new("RGBA", (300, 100), "red")))).size == (64, 21)


def test_each_image_has_its_cell():
    images = [Image.new("L", (8, 8), 20 * i) for i in range(7)]
    sheet, columns, width, height = sprite([*images[:3], None, *images[4:]], 8)
    for i in (0, 1, 2, 4, 5, 6):
        place = (i % columns * width + 4, i // columns * height + 4)
        assert sheet.getpixel(place) == 20 * i
    assert sheet.getpixel((3 % columns * width + 4, 3 // columns * height + 4)) == 128


def test_a_sheet_without_images_is_gray():
    sheet, columns, width, height = sprite([None] * 4, 16)
    assert (sheet.size, columns, width, height) == ((32, 32), 2, 16, 16)
