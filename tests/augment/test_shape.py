import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from ssl_dml.augment import unsquash
from ssl_dml.data.decode import ImageDecoder
from ssl_dml.types import ImageSpec


def spec(view, size=24, mean=0.4):
    return ImageSpec(channels=1, size=size, mean=(mean,), std=(0.25,), test_view=view)


def resized_by_pillow(stored, box):
    """A part of a stored image in its size, with Pillow's low-pass filter."""
    image = Image.fromarray(stored[0, 0].float().numpy() / 255, mode="F")
    return np.asarray(image.resize(image.size, Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize(
    ("aspect", "box"), [(2.0, (6, 0, 18, 24)), (0.5, (0, 6, 24, 18)), (1.0, (0, 0, 24, 24))]
)
def test_the_center_is_pillows(aspect, box):
    stored = torch.randint(0, 256, (1, 1, 24, 24), dtype=torch.uint8)
    ours = unsquash(stored, torch.tensor([aspect]), spec("center"))
    assert_close(ours[0, 0].numpy(), resized_by_pillow(stored, box), atol=2e-6, rtol=0)


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_a_padded_image_shrinks_as_pillows_between_borders_of_the_mean(aspect):
    stored = torch.randint(0, 256, (1, 1, 24, 24), dtype=torch.uint8)
    ours = unsquash(stored, torch.tensor([aspect]), spec("pad"))[0, 0].numpy()
    image = Image.fromarray(stored[0, 0].float().numpy() / 255, mode="F")
    whole = np.asarray(
        image.resize((24, 12) if aspect > 1 else (12, 24), Image.Resampling.BILINEAR)
    )
    inside, outside = (
        (ours[6:18], ours[[0, 5, 18, 23]])
        if aspect > 1
        else (ours[:, 6:18], ours[:, [0, 5, 18, 23]])
    )
    assert_close(inside, whole, atol=2e-6, rtol=0)
    assert_close(outside, np.full_like(outside, 0.4), atol=1e-6, rtol=0)


def test_each_image_of_a_batch_has_its_own_shape():
    stored = torch.randint(0, 256, (3, 1, 24, 24), dtype=torch.uint8)
    aspects = torch.tensor([0.3, 1.0, 5.0])
    for view in ("center", "pad"):
        together = unsquash(stored, aspects, spec(view))
        one_by_one = [unsquash(stored[[i]], aspects[[i]], spec(view)) for i in range(3)]
        assert_close(together, torch.cat(one_by_one))
        assert_close(together[1], stored[1] / 255.0, atol=1e-6, rtol=0)


def test_squashed_images_and_those_of_the_same_shape_stay_bytes():
    stored = torch.randint(0, 256, (2, 1, 24, 24), dtype=torch.uint8)
    assert unsquash(stored, torch.tensor([0.5, 2.0]), spec("squash")) is stored
    assert unsquash(stored, None, spec("center")) is stored


@pytest.mark.parametrize("size", [(48, 48), (32, 64)])
@pytest.mark.parametrize("shape", [(300, 200), (120, 360), (50, 48)])
def test_a_decoded_image_is_seen_as_the_field_crops_it(shape, size):
    """Resize until the image covers the output, then crop its center, from the original."""
    (width, height), (rows, columns) = shape, size
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 3, height))
    original = Image.fromarray((127 + 120 * np.sin(x) * np.cos(y)).astype(np.uint8))
    decoded = ImageDecoder(channels=1, size=size).decode(original)
    given = ImageSpec(channels=1, size=size, mean=(0.4,), std=(0.25,), test_view="center")
    ours = unsquash(torch.from_numpy(decoded.values[None]), torch.tensor([decoded.aspect]), given)
    scale = max(rows / height, columns / width)
    wide, high = columns / scale, rows / scale
    box = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
    theirs = np.asarray(original.resize((columns, rows), Image.Resampling.BILINEAR, box=box))
    assert np.abs(ours[0, 0].numpy() * 255 - theirs).max() < 6
