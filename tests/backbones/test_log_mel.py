import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ssl_dml.augment import Normalize
from ssl_dml.backbones.log_mel import LogMelBackbone, log_mel, log_mel_statistics, mel_filters
from ssl_dml.types import SequenceSpec


def reference(values, sampling_rate, bands=40):
    """The definition in NumPy, frame by frame and bin by bin."""
    size, hop = round(0.025 * sampling_rate), round(0.01 * sampling_rate)
    fft = 1
    while fft < size:
        fft *= 2
    top = 2595 * math.log10(1 + sampling_rate / 2 / 700)
    corners = [700 * (10 ** (top * i / (bands + 1) / 2595) - 1) for i in range(bands + 2)]
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / size) for i in range(size)])
    rows = []
    for start in range(0, len(values) - size + 1, hop):
        power = np.abs(np.fft.fft(values[start : start + size] * hann, fft)) ** 2
        row = []
        for low, peak, high in zip(corners, corners[1:], corners[2:], strict=False):
            total = 0.0
            for number in range(fft // 2 + 1):
                hertz = number * sampling_rate / fft
                if low < hertz <= peak:
                    total += power[number] * (hertz - low) / (peak - low)
                elif peak < hertz < high:
                    total += power[number] * (high - hertz) / (high - peak)
            row.append(math.log(total + 1e-6))
        rows.append(row)
    return np.array(rows).T


@pytest.mark.parametrize("sampling_rate", [8000, 16000])
def test_matches_the_definition(sampling_rate):
    values = np.random.default_rng(0).normal(size=sampling_rate // 10)
    found = log_mel(torch.tensor(values)[None, None].float(), sampling_rate)[0, 0]
    np.testing.assert_allclose(
        found.numpy(), reference(values, sampling_rate), rtol=1e-3, atol=1e-3
    )


def test_a_tone_is_loudest_in_the_band_that_peaks_there():
    """1,000 Hz are 1,000 mel; of 40 bands up to 8,000 Hz (2,840 mel) band 13 peaks nearest."""
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(16000) / 16000)
    bands = log_mel(tone[None, None], 16000)[0, 0].mean(1)
    peaks = torch.arange(1, 41) * 2840.0 / 41
    assert bands.argmax() == (peaks - 1000).abs().argmin() == 13


def test_inner_triangles_add_up_to_one():
    filters = mel_filters(16000, 512)
    hertz = torch.arange(257) * 16000 / 512
    inside = (hertz > 50) & (hertz < 7400)
    assert_close(filters.sum(1)[inside], torch.ones(int(inside.sum())))
    assert filters.min() >= 0


def test_statistics_are_means_and_deviations_and_ignore_loudness():
    samples = torch.randn(3, 2, 16000)
    found = log_mel_statistics(samples, 16000, parts=1)
    assert found.shape == (3, 2 * 2 * 40)
    bands = log_mel(samples, 16000)
    centered = bands.mean(3) - bands.mean((2, 3))[:, :, None]
    assert_close(found[:, :40], centered[:, 0])
    assert_close(found[:, 120:], bands[:, 1].std(2, correction=0))
    assert_close(log_mel_statistics(samples * 3, 16000, parts=1), found, rtol=0, atol=1e-3)


def test_sixteen_bits_are_the_floats_they_stand_for():
    samples = torch.randint(-9000, 9000, (2, 1, 8000), dtype=torch.int16)
    assert_close(log_mel(samples, 8000), log_mel(samples.float() / 32768, 8000))


@pytest.mark.parametrize("length", [1, 399, 400])
def test_what_is_shorter_than_a_frame_and_silence_have_features(length):
    assert log_mel_statistics(torch.zeros(2, 1, length), 16000).isfinite().all()


@pytest.mark.parametrize("length", [100, 400, 1000, 8000, 15_999, 16_000])
def test_padding_does_not_count(length):
    torch.manual_seed(0)
    samples = torch.randint(1, 9000, (2, 1, length), dtype=torch.int16)
    padded = torch.nn.functional.pad(samples, (0, 16_000 - length))
    if length < 400:
        samples = torch.nn.functional.pad(samples, (0, 400 - length))
    bands = np.stack([reference(row[0].numpy() / 32768, 16_000) for row in samples[:, :, :2000]])
    assert_close(
        log_mel_statistics(padded, 16_000),
        log_mel_statistics(samples, 16_000),
        rtol=1e-3,
        atol=1e-4,
    )
    found = log_mel_statistics(padded, 16_000, parts=1)
    if length <= 2000:
        assert_close(found[:, 40:].double(), torch.tensor(bands.std(2)), rtol=1e-3, atol=1e-3)


def test_parts_are_those_of_the_time_before_the_padding():
    rng = np.random.default_rng(0)
    values = rng.integers(1, 9000, size=2000).astype(np.int16)
    bands = reference(values / 32768, 16_000)  # 11 frames, so 4 parts share some of them
    expected = []
    for first, end in ((0, 3), (2, 6), (5, 9), (8, 11)):
        part = bands[:, first:end]
        expected += [part.mean(1) - part.mean(), part.std(1)]
    padded = torch.nn.functional.pad(torch.tensor(values)[None, None], (0, 3000))
    found = log_mel_statistics(padded, 16_000, parts=4)[0]
    np.testing.assert_allclose(found.numpy(), np.concatenate(expected), rtol=1e-3, atol=1e-3)


def test_the_backbone_gives_the_statistics_of_what_is_stored():
    spec = SequenceSpec(channels=1, length=4000, mean=(0.01,), std=(0.2,), sampling_rate=16_000)
    stored = torch.randint(-9000, 9000, (3, 1, 4000), dtype=torch.int16)
    backbone = LogMelBackbone(spec, parts=3)
    found = backbone(Normalize(spec)(stored))
    assert found.shape[1] == backbone.feature_dim
    assert_close(found, log_mel_statistics(stored, 16_000, parts=3), atol=1e-3, rtol=1e-3)
    assert not list(backbone.state_dict())


@pytest.mark.parametrize("rate", [None, "images"])
def test_the_backbone_needs_a_sampling_rate(rate, gray):
    spec = SequenceSpec(channels=1, length=400, mean=(0.0,), std=(1.0,), sampling_rate=None)
    with pytest.raises(ValueError, match=r"LogMelBackbone is for audio whose .*sampling_rate"):
        LogMelBackbone(gray if rate == "images" else spec)
