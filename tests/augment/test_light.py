import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as stock

from ssl_dml.augment.color import ColorJitter
from ssl_dml.augment.light import ChannelJitter, GrayJitter


@pytest.mark.parametrize(
    "jitter",
    [ColorJitter(probability=1.0), GrayJitter(probability=1.0, gamma=0.5), ChannelJitter()],
)
def test_every_sample_has_its_own_draw(jitter):
    same = (torch.rand(1, 3, 8, 8) * 0.5 + 0.2).repeat(64, 1, 1, 1)
    out = jitter(same).flatten(1)
    assert len(out.unique(dim=0)) == 64
    assert out.min() >= 0
    assert out.max() <= 1


def test_gray_jitter_equals_the_stock_steps():
    torch.manual_seed(1)
    jitter = GrayJitter(brightness=0.3, contrast=0.0, probability=1.0)
    images = torch.rand(5, 1, 6, 6) * 0.5
    gains = jitter(images) / images
    assert (gains.flatten(1).std(dim=1) < 1e-3).all()
    assert ((gains > 0.7) & (gains < 1.3)).all()
    contrast = GrayJitter(brightness=0.0, contrast=0.4, probability=1.0)(images)
    assert_close(contrast.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=0, atol=1e-2)


def test_a_share_of_the_images_is_left_alone():
    images = torch.rand(4000, 1, 2, 2) * 0.5 + 0.2
    out = GrayJitter(probability=0.8)(images)
    untouched = (out == images).flatten(1).all(dim=1).float().mean()
    assert 0.17 < untouched < 0.23


def test_a_dropped_channel_is_its_mean():
    images = torch.rand(200, 4, 6, 6)
    out = ChannelJitter(gain=0.0, drop=0.25)(images)
    flat = out.flatten(2).std(dim=2) < 1e-6
    assert 0.2 < flat.float().mean() < 0.3
    assert_close(out.mean((2, 3)), images.mean((2, 3)))


def test_gray_jitter_equals_stock_steps_with_its_parameters():
    """One image after the other, far from 0 and 1 where stock steps would clamp on the way."""
    images = torch.rand(24, 1, 9, 4) * 0.3 + 0.4
    ours = GrayJitter(brightness=0.1, contrast=0.1, gamma=0.3, probability=0.5)
    found, drawn = ours(images), ours._params
    assert 0 < drawn["batch_prob"].sum() < 24
    for number, image in enumerate(images):
        expected = image
        if drawn["batch_prob"][number]:
            expected = stock.adjust_brightness(expected, drawn["brightness_factor"][number].item())
            expected = stock.adjust_contrast(expected, drawn["contrast_factor"][number].item())
        expected = stock.adjust_gamma(expected, drawn["gamma_factor"][number].item())
        assert_close(found[number], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("made", [GrayJitter(gamma=0.5), ChannelJitter()])
def test_parameters_are_replayed(made):
    images = torch.rand(6, 3, 4, 5)
    first, drawn = made(images), made._params
    assert not torch.equal(made(images), first)
    assert torch.equal(made(images, params=drawn), first)
