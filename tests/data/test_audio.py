import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from ssl_dml.config import ConfigError
from ssl_dml.data.audio import AudioFiles

RNG = np.random.default_rng(0)


def write(path, values, sampling_rate=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, values, sampling_rate, **options)


def noise(count, channels=1):
    return RNG.uniform(-0.5, 0.5, (count, channels))


def opened(folder, **options):
    return AudioFiles(folder, **{"sampling_rate": 8000, **options})


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "A.WAV"])
def test_values_come_back(tmp_path, name):
    values = noise(100)
    write(tmp_path / name, values)
    recordings = opened(tmp_path)
    assert recordings.lengths == [100]
    read = recordings.read(0, 20, 50)
    assert read.shape == (1, 30)
    np.testing.assert_allclose(read[0], values[20:50, 0], atol=2 / 32768)
    assert recordings.read(0, 90, 120).shape == (1, 10)


def test_sub_folders_are_classes(tmp_path):
    for name in ("yes/1.wav", "no/1.flac", "no/.hidden.wav"):
        write(tmp_path / name, noise(10))
    recordings = opened(tmp_path)
    assert recordings.class_names == ["no", "yes"]
    assert recordings.labels == [0, 1]
    assert recordings.name(1) == str(tmp_path / "yes/1.wav")


@pytest.mark.parametrize(
    ("own", "sampling_rate"),
    [(22050, 16000), (8000, 16000), (48000, 16000), (44100, 8000), (11025, 16000)],
)
def test_pieces_of_another_rate_are_those_of_the_whole_resampled(tmp_path, own, sampling_rate):
    write(tmp_path / "a.wav", noise(own // 4), own, subtype="FLOAT")
    recordings = opened(tmp_path, sampling_rate=sampling_rate)
    whole, _ = soundfile.read(tmp_path / "a.wav", dtype="float64")
    expected = resample_poly(whole, sampling_rate, own)
    (length,) = recordings.lengths
    assert length == len(expected)
    pieces = [recordings.read(0, start, start + 777)[0] for start in range(0, length, 777)]
    assert [len(piece) for piece in pieces[:-1]] == [777] * (len(pieces) - 1)
    np.testing.assert_allclose(np.concatenate(pieces), expected, atol=1e-5)


def test_a_tone_keeps_its_frequency(tmp_path):
    write(tmp_path / "a.wav", np.sin(2 * np.pi * 440 * np.arange(44100) / 44100), 44100)
    spectrum = np.abs(np.fft.rfft(opened(tmp_path, sampling_rate=16000).read(0, 0, 16000)[0]))
    assert spectrum.argmax() == 440


def test_other_rates_are_told_once_with_their_number(tmp_path, capsys):
    for number, sampling_rate in enumerate((8000, 16000, 16000, 44100)):
        write(tmp_path / f"{number}.wav", noise(10), sampling_rate)
    opened(tmp_path)
    told = capsys.readouterr().out
    assert told == (
        "3 of 4 audio files have another sampling rate (16000, 44100 Hz) and are resampled "
        "to 8000 Hz\n"
    )


def test_a_damaged_file_is_not_counted_as_resampled(tmp_path, capsys):
    write(tmp_path / "1.wav", noise(10), 8000)
    (tmp_path / "2.wav").write_bytes(b"no audio")
    assert opened(tmp_path).lengths == [10, 0]
    assert capsys.readouterr().out == ""


def test_channels_are_averaged_kept_or_repeated(tmp_path):
    mono, stereo = noise(10), noise(10, 2)
    write(tmp_path / "1.wav", mono, subtype="DOUBLE")
    write(tmp_path / "2.wav", stereo, subtype="DOUBLE")
    one, two = opened(tmp_path), opened(tmp_path, channels=2)
    np.testing.assert_allclose(one.read(1, 0, 10)[0], stereo.mean(1), atol=1e-6)
    np.testing.assert_allclose(two.read(1, 0, 10), stereo.T, atol=1e-6)
    np.testing.assert_allclose(two.read(0, 0, 10), np.hstack([mono, mono]).T, atol=1e-6)


def test_damage_has_no_length_and_is_said_on_reading(tmp_path):
    write(tmp_path / "0.wav", noise(10))
    (tmp_path / "1.wav").write_bytes(b"this is no audio")
    (tmp_path / "2.wav").write_bytes(b"")
    write(tmp_path / "3.wav", noise(0))
    write(tmp_path / "4.flac", noise(60_000))
    whole = (tmp_path / "4.flac").read_bytes()
    (tmp_path / "4.flac").write_bytes(whole[: len(whole) // 2])
    recordings = opened(tmp_path)
    assert recordings.lengths[:4] == [10, 0, 0, 0]
    for index in (1, 2):
        with pytest.raises(ValueError, match="Format not recognised"):
            recordings.read(index, 0, 10)
    assert recordings.read(3, 0, 10).size == 0
    with pytest.raises(ValueError, match=r"."):
        recordings.read(4, 50_000, 60_000)


def test_a_folder_without_audio_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no audio; looked below it for \.flac \.wav"):
        opened(tmp_path)


def header(path, *, rate=None, size=None):
    """A whole file whose header says something else."""
    write(path, noise(100))
    data = bytearray(path.read_bytes())
    if rate is not None:
        data[24:28] = rate.to_bytes(4, "little")
    if size is not None:
        data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("rate", [1, 2**31 - 1, 999_983])
def test_a_rate_that_no_filter_reaches_is_damage(tmp_path, rate):
    header(tmp_path / "a.wav", rate=rate)
    recordings = opened(tmp_path, trim=30.0)
    with pytest.raises(ValueError, match=rf"rate of {rate:,} Hz, which is not resampled"):
        recordings.read(0, 0, 10)


def test_flac_that_promises_years_is_damage(tmp_path):
    block = ((8000 << 44) | (15 << 36) | (2**36 - 1)).to_bytes(8, "big")
    head = b"fLaC\0\0\0\x22" + bytes([16, 0, 16, 0]) + bytes(6) + block + bytes(16)
    (tmp_path / "a.flac").write_bytes(head)
    recordings = opened(tmp_path)
    assert recordings.lengths == [0]
    with pytest.raises(ValueError, match="promises 68,719,476,735 values, and has 42 bytes"):
        recordings.read(0, 0, 10)
