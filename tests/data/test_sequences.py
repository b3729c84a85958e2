import itertools

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from torch.testing import assert_close

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, epochs, load_test, load_train, make_loader
from ssl_dml.data.config import decoded_for
from ssl_dml.data.sequences import SequenceConfig
from ssl_dml.data.understood import describe
from ssl_dml.types import ImageSpec

RNG = np.random.default_rng(0)


def audio(path, count=100, sampling_rate=8000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = RNG.uniform(-0.5, 0.5, (count, channels))
    soundfile.write(path, values, sampling_rate, subtype="PCM_16")
    return values


@pytest.fixture
def config(tmp_path):
    def make(where="in", *, sequences=None, **changes):
        sequences = SequenceConfig(**{"sampling_rate": 8000, **(sequences or {})})
        return DataConfig(
            source=str(tmp_path / where),
            cache_dir=tmp_path / "cache",
            sequences=sequences,
            **changes,
        )

    return make


def test_audio_becomes_sixteen_bits_with_labels_and_statistics(tmp_path, config, capsys):
    whole = [audio(tmp_path / f"in/{name}.wav") for name in ("a/1", "a/2", "b/3")]
    samples = load_train(config())
    values, indices = samples[torch.tensor([2, 0])]
    assert values.dtype == torch.int16
    assert values.shape == (2, 1, 100)
    assert indices.tolist() == [2, 0]
    assert_close(values[0, 0].double() / 32768, torch.tensor(whole[2][:, 0]), rtol=0, atol=1e-4)
    assert (samples.spec.channels, samples.spec.length, samples.spec.sampling_rate) == (
        1,
        100,
        8000,
    )
    assert_close(samples.spec.mean[0], float(np.mean(whole)), rtol=0, atol=1e-4)
    assert_close(samples.spec.std[0], float(np.std(whole)), rtol=0, atol=1e-4)
    assert samples.labels.tolist() == [0, 0, 1]
    assert capsys.readouterr().out == ""
    assert describe(samples, None, "x")["samples"] == 3


def test_long_recordings_are_cut_and_short_ones_filled(tmp_path, config):
    audio(tmp_path / "in/a/1.wav", 130)
    audio(tmp_path / "in/b/2.wav", 30)
    samples = load_train(config(sequences={"length": 50}))
    assert samples.labels.tolist() == [0, 0, 0, 1]
    values = samples[torch.arange(4)][0]
    assert values[2, 0, 30:].abs().max() == 0
    assert values[2, 0, :30].abs().max() > 0


def test_the_length_is_that_of_the_longest_and_said(tmp_path, config, capsys):
    audio(tmp_path / "in/1.wav", 70)
    audio(tmp_path / "in/2.wav", 90)
    assert load_train(config()).spec.length == 90
    told = capsys.readouterr().out
    assert "sequences have up to 90 values" in told
    assert "--data.sequences.length" in told


def test_the_test_set_has_the_form_of_training(tmp_path, config):
    for name, count in (("train/a/1", 80), ("train/b/2", 80), ("test/b/3", 200), ("test/a/4", 20)):
        audio(tmp_path / f"in/{name}.wav", count)
    train = load_train(config())
    test = load_test(config(), train)
    assert test.decoder == train.decoder
    assert test[torch.arange(len(test))][0].shape == (4, 1, 80)
    assert test.labels.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("home", ["memory", "disk", "nowhere"])
def test_every_home_gives_the_same_batches(tmp_path, config, home):
    for number in range(6):
        audio(tmp_path / f"in/{number}.flac", 40 + number)
    fractions = {
        "memory_fraction": 1.0 if home == "memory" else 0.0,
        "disk_fraction": 0.0 if home == "nowhere" else 1.0,
    }
    settings = config(batch_size=2, workers=1, **fractions)
    samples = load_train(settings)
    expected = load_train(config(memory_fraction=1.0))[torch.arange(6)][0]
    for values, indices in itertools.islice(
        make_loader(samples, epochs(samples, settings, seed=0)), 3
    ):
        assert torch.equal(values, expected[indices])


def test_damaged_audio_stops_or_is_left_out_by_name(tmp_path, config):
    for name in ("a/1.wav", "a/2.wav", "b/3.wav"):
        audio(tmp_path / "in" / name)
    (tmp_path / "in/a/2.wav").write_bytes(b"no audio")
    with pytest.raises(ConfigError, match=r"damaged sample .*2\.wav: Format not recognised"):
        load_train(config())
    samples = load_train(config(on_error="skip"))
    assert samples.labels.tolist() == [0, 1]
    assert "2.wav" in samples.damaged[0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0, 2.0], [], [3.0]], "row 1: is empty"),
        ([[1.0, 2.0], [None, 1.0], [3.0]], "row 1: holds values that are not finite"),
        ([[1.0, 2.0], None, [3.0]], "row 1: is not a list of numbers"),
        ([[[1.0]] * 2, [[1.0]], [[1.0]] * 2], "row 1: has 1 channels where the data set has 2"),
        ([[[1.0]] * 2, [[1.0], [1.0, 2.0]], [[1.0]] * 2], "row 1: has channels of different"),
    ],
)
def test_damaged_rows_stop_or_are_left_out_by_name(tmp_path, config, rows, words):
    pq.write_table(pa.table({"sequence": rows, "label": [5, 6, 7]}), tmp_path / "in.parquet")
    with pytest.raises(ConfigError, match=words) as caught:
        load_train(config("in.parquet"))
    assert "\n" not in str(caught.value)
    samples = load_train(config("in.parquet", on_error="skip"))
    assert samples.labels.tolist() == [0, 2]


def test_tables_of_channels_keep_them_and_their_own_scale(tmp_path, config):
    rows = RNG.normal([[1000.0], [1e-4]], [[5.0], [1e-5]], size=(50, 2, 8))
    features = datasets.Features({"wave": datasets.Array2D((2, 8), "float64")})
    data = datasets.Dataset.from_dict({"wave": list(rows)}, features=features)
    data.to_parquet(tmp_path / "in.parquet")
    samples = load_train(config("in.parquet", sequences={"sampling_rate": None, "column": "wave"}))
    assert_close(samples[torch.tensor([7])][0][0], torch.tensor(rows[7]).float())
    assert_close(torch.tensor(samples.spec.mean), torch.tensor(rows.mean((0, 2))).float())
    assert_close(torch.tensor(samples.spec.std), torch.tensor(rows.std((0, 2))).float())
    assert samples.spec.sampling_rate is None


def test_npz_and_its_test_set(tmp_path, config):
    for name in ("train", "test"):
        np.savez(tmp_path / f"{name}.npz", x=RNG.normal(size=(4, 3, 6)), y=[0, 1, 0, 1])
    settings = config("train.npz", test_source=str(tmp_path / "test.npz"))
    train = load_train(settings)
    assert train[torch.arange(4)][0].shape == (4, 3, 6)
    assert load_test(settings, train).labels.tolist() == [0, 1, 0, 1]
    assert load_test(config("train.npz"), train) is None


def test_a_silent_channel_is_not_blown_up(tmp_path, config):
    np.savez(tmp_path / "in.npz", x=np.full((4, 6), 1e-9))
    assert load_train(config("in.npz")).spec.std == (1.0,)


def test_the_same_data_for_a_network(tmp_path, config):
    audio(tmp_path / "in/1.wav", 64)
    settings = config()
    spec = load_train(settings).spec
    again = decoded_for(settings, spec)
    assert again.sequences == SequenceConfig(sampling_rate=8000, length=64)
    assert load_train(again).spec == spec
    images = ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.5,))
    with pytest.raises(ConfigError, match=r"for images, and data\.sequences is set"):
        decoded_for(settings, images)
    with pytest.raises(ConfigError, match=r"for sequences, and data\.sequences is null"):
        decoded_for(DataConfig(source="fashion_mini"), spec)
    assert decoded_for(DataConfig(source="fashion_mini"), images).image_size == 8


def test_audio_without_a_rate_and_images_without_sequences_are_named(tmp_path, config):
    audio(tmp_path / "in/1.wav")
    with pytest.raises(
        ConfigError, match=r"data\.sequences\.sampling_rate must be given for audio"
    ):
        load_train(config(sequences={"sampling_rate": None}))
    with pytest.raises(
        ConfigError, match=r"holds audio: .* --data\.sequences\.sampling_rate 16000"
    ):
        load_train(DataConfig(source=str(tmp_path / "in")))


@pytest.mark.parametrize(
    ("name", "words"),
    [("in.npz", r"set data\.sequences"), ("in.wav", "name the folder that holds the samples")],
)
def test_a_file_that_is_no_source_of_images_is_named(tmp_path, name, words):
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=words):
        load_train(DataConfig(source=str(tmp_path / name)))


def test_an_embedded_sample_is_of_images():
    settings = DataConfig(source="fashion_mini", sequences=SequenceConfig())
    with pytest.raises(ConfigError, match=r"column 'sequence' is not a column of fashion_mini"):
        load_train(settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_size": 8}, r"data\.image_size is for images"),
        ({"value_range": (0.0, 1.0)}, r"data\.value_range is for images"),
        (
            {"sequences": {"sampling_rate": 0}},
            r"data\.sequences\.sampling_rate must be at least 1, got 0",
        ),
        ({"sequences": {"length": -2}}, r"data\.sequences\.length must be at least 1, got -2"),
    ],
)
def test_refuses_settings_that_cannot_be(config, changes, words):
    with pytest.raises(ConfigError, match=words):
        config(**changes)


def test_silence_is_left_out_of_audio_unless_it_is_kept(tmp_path, config):
    for name in ("a/1", "a/2", "b/3"):
        audio(tmp_path / f"in/{name}.wav", 4000)
        values, rate = soundfile.read(tmp_path / f"in/{name}.wav")
        values = np.pad(values, (2000, 3000))
        soundfile.write(tmp_path / f"in/{name}.wav", values, rate)
    cut, kept = load_train(config()), load_train(config(sequences={"trim": None}))
    assert (cut.spec.length, kept.spec.length) == (4000 + 4 * 80, 9000)
    assert (cut.decoder.trim, kept.decoder.trim) == (30.0, None)
    found = describe(cut, None, "x")
    assert found["decoder"]["trim"] == 30.0
    assert "silence at both ends is left out, 1.8 of 3.4 s" in found["notes"][-1]
    assert torch.equal(cut[torch.arange(3)][0], kept[torch.arange(3)][0][:, :, 1840:6160])


def test_a_trim_that_is_not_positive_is_refused(tmp_path, config):
    audio(tmp_path / "in/1.wav")
    with pytest.raises(ValueError, match=r"data\.sequences\.trim must be positive, got -1"):
        load_train(config(sequences={"trim": -1.0}))


def test_series_are_not_trimmed(tmp_path, config):
    np.savez(tmp_path / "in.npz", x=np.pad(RNG.normal(size=(4, 1, 50)), ((0, 0), (0, 0), (20, 20))))
    assert load_train(config("in.npz")).decoder.trim is None
