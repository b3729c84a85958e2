import pytest
import torch

from ssl_dml.reporting import views_picture
from ssl_dml.types import ImageSpec


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (3, 3), (5, 1)])
def test_a_row_a_sample_and_a_column_a_view(channels, shown):
    spec = ImageSpec(channels=channels, size=8, mean=(0.5,) * channels, std=(0.25,) * channels)
    pixels = torch.randint(0, 256, (10, channels, 8, 8), dtype=torch.uint8)
    views = [torch.randn(10, channels, 8, 8), torch.randn(10, channels, 4, 4)]
    picture = views_picture(pixels, views, spec)
    assert picture.shape == (shown, 8 * 10, 3 * 10)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert torch.equal(picture[:, 1:9, 1:9], pixels[0, :shown].float() / 255)


def test_normalisation_is_undone(gray):
    pixels = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    picture = views_picture(pixels, [torch.full((1, 1, 4, 4), 2.0)], gray)
    assert torch.equal(picture[:, 1:5, 7:11], torch.ones(1, 4, 4))
