import colorsys

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.augment.hue import turn_hue


def test_equals_the_standard_library_pixel_by_pixel():
    images = torch.rand(4, 3, 5, 6)
    images[0, :, 0] = images[0, :1, 0]  # gray
    images[1, :, 0, 0] = 0.0
    images[1, :2, 0, 1] = 0.7  # two largest channels
    turns = torch.tensor([0.3, -0.45, 0.0, 1.2])
    found = turn_hue(images, turns)
    for image, turn, made in zip(images, turns.tolist(), found, strict=True):
        for before, after in zip(image.flatten(1).T.tolist(), made.flatten(1).T, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*before)
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            assert_close(after, torch.tensor(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_half_turn_in_half_precision(kind):
    red = torch.tensor([0.75, 0.25, 0.25], dtype=kind).view(1, 3, 1, 1)
    cyan = turn_hue(red, torch.tensor([0.5]))
    assert cyan.dtype == kind
    assert cyan.flatten().tolist() == [0.25, 0.75, 0.75]
