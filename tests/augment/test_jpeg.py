import io

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from ssl_dml.augment.jpeg import JPEG


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 40), (64, 31)])
def test_equals_the_stock_operator(size):
    images = torch.rand(32, 3, *size)
    theirs = K.RandomJPEG((1.0, 100.0), p=0.5)
    ours = JPEG(quality=(1.0, 100.0))
    torch.manual_seed(2)
    expected = theirs(images)
    torch.manual_seed(2)
    assert_close(ours(images), expected, rtol=0, atol=1e-5)
    assert_close(ours(images, params=theirs._params), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("quality", [20, 60, 90])
def test_is_near_a_file_of_that_quality(quality):
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse, (48, 48), mode="bicubic").clamp(0, 1)
    array = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255
    found = JPEG(quality=(float(quality), float(quality)), probability=1.0)(image)
    assert (found - expected).abs().mean() < (image - expected).abs().mean() / 2


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match=r"quality must be from 1 to 100, got 0\.0"):
        JPEG(quality=(0.0, 50.0))
    with pytest.raises(ValueError, match="JPEG is for 3 channels and the images have 1"):
        JPEG()(torch.rand(1, 1, 8, 8))
