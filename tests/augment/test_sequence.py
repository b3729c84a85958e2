import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ssl_dml.augment import SequenceViews
from ssl_dml.types import SequenceSpec

OFF = {"speed": 0.0, "gain": 0.0, "noise": 0.0, "mask": 0.0, "reverb": 0.0}


def spec(length=400, channels=1, sampling_rate=100, std=1.0):
    zeros, ones = (0.0,) * channels, (std,) * channels
    return SequenceSpec(
        channels=channels, length=length, mean=zeros, std=ones, sampling_rate=sampling_rate
    )


def recipe(inputs=None, window=64, **options):
    return SequenceViews(inputs or spec(), window=window, **{**OFF, **options})


def ramp(count, length=400, channels=1):
    """Every value is its own position, so that a view tells where it was taken."""
    return torch.arange(length).float().repeat(count, channels, 1)


def test_views_have_the_window_and_every_draw_is_its_own():
    views = SequenceViews(spec(channels=2), window=64, views=3, reverb=0.5)(
        torch.randn(1, 2, 400).repeat(16, 1, 1)
    )
    assert [view.shape for view in views] == [(16, 2, 64)] * 3
    assert torch.cat(views).isfinite().all()
    assert len(torch.cat(views).flatten(1).unique(dim=0)) == 48


def test_with_everything_off_a_view_is_a_piece():
    (view,) = recipe(views=1)(ramp(500))
    starts = view[:, 0, :1]
    assert torch.equal(view[:, 0], starts + torch.arange(64))
    assert starts.min() == 0
    assert starts.max() == 400 - 64
    assert len(starts.unique()) > 200


def test_a_window_of_everything_is_the_sequence():
    samples = torch.randn(5, 3, 40)
    (view,) = recipe(spec(40, channels=3), window=40, views=1)(samples)
    assert torch.equal(view, samples)


def test_sixteen_bits_are_scaled_and_normalized():
    samples = torch.full((2, 1, 400), 16384, dtype=torch.int16)
    assert torch.equal(recipe(spec(std=0.25))(samples)[0], torch.full((2, 1, 64), 2.0))


def test_speed_reads_on_a_line_between_values():
    (view,) = recipe(views=1, speed=0.5)(ramp(2000))
    steps = view.diff(dim=2)
    speed = steps.mean((1, 2))
    assert_close(steps, speed[:, None, None].expand_as(steps), rtol=0, atol=1e-3)
    assert 1 / 1.5 - 1e-4 < speed.min() < 0.68
    assert 1.48 < speed.max() < 1.5 + 1e-4
    assert abs(speed.log().mean()) < 0.02  # as often slower as faster
    assert view.min() >= 0
    assert view.max() <= 399


def test_a_view_never_reads_beyond_the_sequence():
    """Where a sequence is too short for its speed it is played slower, to its very end."""
    (view,) = recipe(spec(70), views=1, speed=1.0)(ramp(500, 70))
    assert (view.diff(dim=2) > 0).all()
    assert view.max() <= 69


def test_speed_matches_numpy_interpolation():
    samples = torch.randn(1, 1, 400, dtype=torch.float64)
    torch.manual_seed(1)
    (places,) = recipe(views=1, speed=0.3)(ramp(1))
    torch.manual_seed(1)
    (view,) = recipe(views=1, speed=0.3)(samples)
    expected = np.interp(places.flatten().numpy(), np.arange(400), samples.flatten().numpy())
    np.testing.assert_allclose(view.flatten().numpy(), expected, atol=1e-3)


def test_gain_is_uniform_in_decibels():
    (view,) = recipe(views=1, gain=6.0)(torch.ones(4000, 1, 400))
    decibels = 20 * view[:, 0, 0].log10()
    assert torch.equal(view, view[:, :, :1].expand_as(view))
    assert -6 <= decibels.min() < -5.9
    assert 5.9 < decibels.max() <= 6
    assert abs(decibels.mean()) < 0.2


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_its_distance_from_the_audio(snr):
    samples = torch.randn(64, 1, 4000) * torch.rand(64, 1, 1)
    (clean,) = recipe(spec(4000), window=4000, views=1)(samples)
    (view,) = recipe(spec(4000), window=4000, views=1, noise=1.0, snr=(snr, snr))(samples)
    measured = 10 * torch.log10(clean.square().mean(2) / (view - clean).square().mean(2))
    assert_close(measured, torch.full_like(measured, snr), rtol=0, atol=0.5)


def test_silence_stays_silent():
    views = SequenceViews(spec(), window=64, noise=1.0, reverb=1.0)(torch.zeros(4, 1, 400))
    assert torch.cat(views).abs().max() == 0


@pytest.mark.parametrize("name", ["noise", "reverb"])
def test_a_share_of_views_is_changed(name):
    samples = torch.randn(1000, 1, 64)
    (view,) = recipe(spec(64), views=1, **{name: 0.3})(samples)
    changed = (view - samples).abs().amax((1, 2)) > 1e-4
    assert 0.25 < changed.float().mean() < 0.35


def test_a_mask_is_one_stretch_of_zeros_no_longer_than_told():
    samples = torch.ones(1000, 2, 400)
    (view,) = recipe(spec(channels=2), window=100, views=1, mask=0.2)(samples)
    masked = view[:, 0] == 0
    assert torch.equal(masked, view[:, 1] == 0)
    assert masked.sum(1).max() == 20
    assert masked.sum(1).min() == 0
    edges = masked.int().diff(dim=1, prepend=torch.zeros(1000, 1, dtype=torch.int)) == 1
    assert edges.sum(1).max() == 1
    assert masked.any(0).all(), "it can be anywhere"


def test_an_echo_follows_the_audio_and_decays():
    samples = torch.zeros(2000, 1, 400)
    samples[:, :, 50] = 1.0
    (view,) = recipe(window=400, views=1, reverb=1.0)(samples)
    assert view[..., :50].abs().max() < 1e-5
    power = (view - samples).square().mean((0, 1))
    assert power[50:60].mean() > 100 * power[90:100].mean()
    energy = 10 * torch.log10((view - samples).square().sum((1, 2)))
    assert -20.1 < energy.min() < -19.5
    assert -0.5 < energy.max() < 0.1


def test_the_same_generator_state_gives_the_same_views():
    samples = torch.randn(4, 1, 400)
    augment = SequenceViews(spec(), window=64, reverb=0.5)
    state = torch.get_rng_state()
    first = augment(samples)
    torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(first, augment(samples), strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 401}, "window must be from 2 to the length of the sequences, 400; got 401"),
        ({"window": 1}, "window must be from 2"),
        ({"views": 0}, "views must be at least 1, got 0"),
        ({"speed": -0.1}, r"augment\.speed must be at least 0, got -0\.1"),
        ({"gain": -1.0}, r"augment\.gain must be at least 0, got -1\.0"),
        ({"noise": 1.5}, "noise must be from 0 to 1, got 1.5"),
        ({"mask": -0.1}, "mask must be from 0 to 1"),
        ({"snr": (3.0, 1.0)}, "snr must be a rising range"),
        (
            {"inputs": spec(sampling_rate=None), "reverb": 0.1},
            r"reverb needs data\.sequences\.sampling_rate",
        ),
    ],
)
def test_refuses_settings_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        recipe(**options)


def test_refuses_images(gray):
    with pytest.raises(ValueError, match="SequenceViews is for sequences; the data are images"):
        recipe(gray)


def test_views_are_of_what_is_before_the_padding_where_there_is_enough():
    padded = ramp(300, 250).add(1)
    padded = torch.nn.functional.pad(padded, (0, 150))
    padded[150:, :, 40:] = 0  # shorter than a view
    (view,) = recipe(views=1)(padded)
    assert view[:150].min() > 0
    assert view[:150, 0, 0].max() == 250 - 64 + 1
    assert torch.equal(view[150:], padded[150:, :, :64])
