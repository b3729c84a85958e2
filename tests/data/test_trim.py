import numpy as np
import pytest
import soundfile
from scipy.ndimage import uniform_filter1d

from ssl_dml.data.audio import AudioFiles
from ssl_dml.data.trim import loud_frames, sounding, trimmed

RNG = np.random.default_rng(0)


def word(before, sound, after, *, rate=16_000, quiet=1e-3, offset=0.0):
    """A tone between stretches of faint noise, in seconds."""
    counts = [round(part * rate) for part in (before, sound, after)]
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(counts[1]) / rate)
    values = np.concatenate([np.zeros(counts[0]), tone, np.zeros(counts[2])])
    return values + quiet * RNG.standard_normal(len(values)) + offset


def measured(path, rate=16_000, *, trim=30.0, mono=True):
    with soundfile.SoundFile(path) as file:
        return sounding(file, rate, trim=trim, mono=mono)


@pytest.mark.parametrize("own", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_word_is_found_between_silences_at_any_rate(tmp_path, own, offset):
    soundfile.write(tmp_path / "a.wav", word(0.5, 0.3, 0.7, rate=own, offset=offset), own)
    start, stop = measured(tmp_path / "a.wav")
    assert start == pytest.approx(0.48 * 16_000, abs=200)  # 20 ms before the tone
    assert stop == pytest.approx(0.82 * 16_000, abs=200)


def test_it_agrees_with_a_moving_average_of_the_energy(tmp_path):
    values = word(0.41, 0.2, 0.33)
    soundfile.write(tmp_path / "a.wav", values, 16_000, subtype="FLOAT")
    power = uniform_filter1d(values**2, 160)
    loud = (power > power.max() / 1000).nonzero()[0]
    start, stop = measured(tmp_path / "a.wav")
    assert abs(start - (loud[0] - 320)) <= 160
    assert abs(stop - (loud[-1] + 321)) <= 160


def test_silence_and_steady_noise_are_kept_whole(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(5_000), 16_000)
    soundfile.write(tmp_path / "noise.wav", RNG.uniform(-0.5, 0.5, 5_001), 16_000)
    assert measured(tmp_path / "silent.wav") == (0, 5_000)
    assert measured(tmp_path / "noise.wav") == (0, 5_001)


def test_blocks_do_not_show(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", word(0.5, 0.3, 0.7), 16_000)
    whole = measured(tmp_path / "a.wav")
    monkeypatch.setattr("ssl_dml.data.trim.BLOCK", 7)
    assert measured(tmp_path / "a.wav") == whole


def test_channels_that_cancel_sound_only_where_they_are_kept(tmp_path):
    one = word(0.5, 0.3, 0.7, quiet=0)
    soundfile.write(tmp_path / "a.wav", np.stack([one, -one], 1), 16_000, subtype="FLOAT")
    assert measured(tmp_path / "a.wav", mono=True) == (0, len(one))
    start, stop = measured(tmp_path / "a.wav", mono=False)
    assert 7_000 < start < stop < 14_000


def test_arrays_are_cut_as_files(tmp_path):
    values = word(0.5, 0.3, 0.7)
    soundfile.write(tmp_path / "a.wav", values, 16_000, subtype="DOUBLE")
    start, stop = measured(tmp_path / "a.wav")
    np.testing.assert_array_equal(trimmed(values[None], 16_000, 30.0)[0], values[start:stop])


def test_what_is_not_finite_has_no_energy():
    values = np.array([[np.nan, 0.1, -0.1, np.inf]])
    assert trimmed(values, 1, 30.0).shape == (1, 4)
    assert loud_frames(np.array([0.0]), 30.0) == (0, 1)


def test_recordings_are_cut_and_it_is_noted(tmp_path):
    values = word(0.5, 0.3, 0.7)
    soundfile.write(tmp_path / "a.wav", values, 16_000, subtype="FLOAT")
    cut = AudioFiles(tmp_path, sampling_rate=16_000, trim=30.0)
    kept = AudioFiles(tmp_path, sampling_rate=16_000)
    (length,), (start,) = cut.lengths, cut.starts
    assert kept.lengths == [24_000]
    np.testing.assert_allclose(
        cut.read(0, 100, 10**6)[0], values[start + 100 : start + length], atol=1e-6
    )
    assert cut.notes == [
        "silence at both ends is left out, 1.2 of 1.5 s (30 dB below the loudest part); "
        "--data.sequences.trim null keeps it"
    ]
    assert cut.fingerprint != kept.fingerprint
    assert cut.fingerprint == AudioFiles(tmp_path, sampling_rate=16_000, trim=30.0).fingerprint


def test_a_file_that_ends_early_is_kept_whole_so_that_reading_reports_it(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, word(0.5, 3.0, 0.7), 16_000)
    path.write_bytes(path.read_bytes()[:30_000])
    recordings = AudioFiles(tmp_path, sampling_rate=16_000, trim=30.0)
    assert (recordings.starts, recordings.lengths) == ([0], [67_200])
    with pytest.raises(ValueError, match=r"."):
        recordings.read(0, 0, 67_200)
    soundfile.write(path, np.zeros(0), 16_000)
    assert AudioFiles(tmp_path, sampling_rate=16_000, trim=30.0).lengths == [0]
