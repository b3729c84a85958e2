import pytest
import torch

from ssl_dml.reporting import contact_sheet, views_image
from ssl_dml.reporting.images import waves
from ssl_dml.types import ImageSpec, SequenceSpec


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (3, 3), (5, 1)])
def test_a_row_a_sample_and_a_column_a_view(channels, shown):
    spec = ImageSpec(channels=channels, size=8, mean=(0.5,) * channels, std=(0.25,) * channels)
    pixels = torch.randint(0, 256, (10, channels, 8, 8), dtype=torch.uint8)
    views = [torch.randn(10, channels, 8, 8), torch.randn(10, channels, 4, 4)]
    image = views_image(pixels, views, spec)
    assert image.shape == (shown, 8 * 10, 3 * 10)
    assert image.min() >= 0
    assert image.max() <= 1
    assert torch.equal(image[:, 1:9, 1:9], pixels[0, :shown].float() / 255)


def test_normalization_is_undone(gray):
    pixels = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    image = views_image(pixels, [torch.full((1, 1, 4, 4), 2.0)], gray)
    assert torch.equal(image[:, 1:5, 7:11], torch.ones(1, 4, 4))


def test_sequences_are_drawn_as_waves(audio):
    samples = torch.randint(-9000, 9000, (10, 1, 400), dtype=torch.int16)
    image = views_image(samples, [torch.randn(10, 1, 90)] * 2, audio)
    assert image.shape == (1, 8 * 50, 3 * 258)
    assert set(image.unique().tolist()) == {0.0, 1.0}


def test_a_wave_is_dark_from_its_lowest_to_its_highest_value():
    step = torch.tensor([[[0.5] * 300 + [-1.0] * 300]])
    (drawn,) = waves(step)
    assert drawn.shape == (1, 48, 256)
    dark = (drawn[0] == 0).nonzero()
    left, right = dark[dark[:, 1] < 127, 0], dark[dark[:, 1] > 129, 0]
    assert ((1 - left.unique() / 24) - 0.5).abs().max() < 2 / 24
    assert right.unique().tolist() == [47]
    assert (drawn[0] == 0).any(0).all(), "no column is empty"


def test_silence_is_drawn(audio):
    image = views_image(torch.zeros(1, 1, 400), [torch.zeros(1, 1, 400)], audio)
    assert image.isfinite().all()


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (3, 3), (5, 1)])
def test_a_contact_sheet_has_each_sample_in_its_place(channels, shown):
    spec = ImageSpec(channels=channels, size=6, mean=(0.5,) * channels, std=(0.25,) * channels)
    pixels = torch.randint(0, 256, (11, channels, 6, 6), dtype=torch.uint8)
    sheet = contact_sheet(pixels, spec, columns=4)
    assert sheet.shape == (shown, 3 * 8, 4 * 8)
    for number, sample in enumerate(pixels):
        row, column = divmod(number, 4)
        drawn = sheet[:, row * 8 + 1 : row * 8 + 7, column * 8 + 1 : column * 8 + 7]
        assert torch.equal((drawn * 255).round().byte(), sample[:shown])
    assert sheet[:, 16:, 24:].unique().tolist() == [1.0]  # the place that is left over


def test_a_contact_sheet_of_sequences_has_waves():
    spec = SequenceSpec(channels=1, length=400, sampling_rate=None, mean=(0.0,), std=(1.0,))
    sheet = contact_sheet(torch.randn(3, 1, 400), spec, columns=2)
    assert sheet.shape == (1, 2 * 50, 2 * 258)
