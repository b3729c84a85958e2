import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from ssl_dml.cores import cores
from ssl_dml.data import DataConfig, epochs, load_test, load_train, make_loader
from ssl_dml.data.understood import announce
from ssl_dml.types import ConfigError

RNG = np.random.default_rng(0)


def save(path, shape, dtype=np.uint8, high=256):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.integers(0, high, shape).astype(dtype)
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)


@pytest.fixture
def config(tmp_path):
    return lambda **changes: DataConfig(
        **{"source": str(tmp_path / "in"), "cache_dir": tmp_path / "cache", **changes}
    )


def test_the_embedded_sample_has_its_known_statistics(clothes):
    images = clothes
    assert len(images) == 10_000
    assert (images.spec.channels, images.spec.size) == (1, 28)
    everything = images[torch.arange(len(images))][0].double() / 255
    assert_close(images.spec.mean[0], everything.mean().item(), rtol=0.02, atol=0)
    assert_close(images.spec.std[0], everything.std().item(), rtol=0.02, atol=0)
    assert images.labels.bincount().tolist() == [1000] * 10


def test_mixed_kinds_and_sizes_become_one_shape(tmp_path, config, capsys):
    save(tmp_path / "in/gray.png", (10, 12))
    save(tmp_path / "in/color.jpg", (30, 20, 3))
    save(tmp_path / "in/clear.png", (8, 8, 4))
    images = load_train(config())
    assert images[torch.arange(3)][0].shape == (3, 3, 16, 16)
    assert_close(images.aspects, torch.tensor([1.0, 2 / 3, 1.2]))
    assert images.labels is None
    announce(images, None)
    assert "--data.image_size" in capsys.readouterr().out
    assert load_train(config(image_size=16, channels=1))[torch.arange(2)][0].shape == (
        2,
        1,
        16,
        16,
    )


def test_channels_of_arrays_reach_the_spec(tmp_path, config):
    for i in range(3):
        save(tmp_path / f"in/{i}.npy", (9, 9, 6))
    images = load_train(config())
    assert (images.spec.channels, images.spec.size) == (6, 9)


def test_the_range_of_sixteen_bits_is_measured_and_said(tmp_path, config, capsys):
    for i in range(4):
        save(tmp_path / f"in/{i}.png", (8, 8), np.uint16, high=4096)
    train = load_train(config())
    pixels = train[torch.arange(4)][0]
    assert pixels.min() == 0
    assert pixels.max() == 255
    announce(train, None)
    assert "--data.value_range" in capsys.readouterr().out
    darker = load_train(config(value_range=(0.0, 65535.0)))[torch.arange(4)][0]
    assert darker.max() <= 16


def test_normalization_can_be_given(tmp_path, config):
    save(tmp_path / "in/a.png", (8, 8))
    spec = load_train(config(mean=(0.1,), std=(0.9,))).spec
    assert (spec.mean, spec.std) == ((0.1,), (0.9,))


def test_normalization_is_for_the_channels_there_are(tmp_path, config):
    save(tmp_path / "in/a.png", (8, 8))
    with pytest.raises(ConfigError, match=r"data\.mean, data\.std: mean and std need one value"):
        load_train(config(mean=(0.1, 0.2), std=(0.9, 0.9)))


def test_a_constant_channel_is_not_blown_up(tmp_path, config):
    Image.new("L", (8, 8), 7).save((tmp_path / "in").mkdir() or tmp_path / "in/a.png")
    assert load_train(config()).spec.std == (1.0,)


def test_skipped_images_close_the_gap_and_labels_follow(tmp_path, config):
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        save(tmp_path / "in" / name, (8, 8))
    (tmp_path / "in/a/2.png").write_bytes(b"no image")
    images = load_train(config(on_error="skip"))
    assert images.labels.tolist() == [0, 1]
    assert len(images.damaged) == 1


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_indices_are_stable(tmp_path, config, memory):
    for i in range(6):
        Image.new("L", (4, 4), i).save(
            (tmp_path / "in").mkdir(exist_ok=True) or tmp_path / f"in/{i}.png"
        )
    images = load_train(config(memory_fraction=memory))
    assert images[torch.arange(6)][0][:, 0, 0, 0].tolist() == list(range(6))


@pytest.mark.parametrize("disk", [0.0, 1.0])
def test_the_loader_goes_on_where_it_was_told(tmp_path, config, disk):
    for i in range(6):
        Image.new("L", (4, 4), i).save(
            (tmp_path / "in").mkdir(exist_ok=True) or tmp_path / f"in/{i}.png"
        )
    settings = config(memory_fraction=0.0, disk_fraction=disk, batch_size=2, workers=1)
    images = load_train(settings)
    state = torch.get_rng_state()
    order = epochs(images, settings, seed=0)
    rows = iter(make_loader(images, order))
    whole = [next(rows) for _ in range(5)]
    later = next(iter(make_loader(images, order.skip(4))))
    assert torch.equal(later[0], whole[4][0])
    assert torch.equal(later[0][:, 0, 0, 0], later[1].to(torch.uint8))
    assert torch.equal(torch.get_rng_state(), state), "loading drew from training's generator"


def test_folders_that_are_not_classes(tmp_path, config):
    for name in ("32px/1.png", "64px/2.png"):
        save(tmp_path / "in" / name, (8, 8))
    assert load_train(config()).labels is not None
    assert load_train(config(use_labels=False)).labels is None


def test_test_labels_are_matched_by_name(tmp_path, config):
    for name in ("train/a/1.png", "train/b/2.png", "test/b/3.png", "test/c/4.png"):
        save(tmp_path / "in" / name, (8, 8))
    train = load_train(config())
    test = load_test(config(), train)
    assert test.labels.tolist() == [1, 2]
    assert test.class_names == ["a", "b", "c"]
    assert load_test(config(source=str(tmp_path / "in/train")), train) is None


def test_a_store_that_is_there_is_used_though_the_samples_would_fit_in_memory(tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    given = {"source": str(tmp_path), "cache_dir": tmp_path / "cache"}
    load_train(DataConfig(**given, memory_fraction=0.0))
    assert isinstance(load_train(DataConfig(**given)).samples, np.memmap)
    other = {**given, "cache_dir": tmp_path / "none"}
    assert not isinstance(load_train(DataConfig(**other)).samples, np.memmap)


def test_on_demand_the_number_of_workers_is_said(tmp_path, capsys):
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    given = {"source": str(tmp_path), "memory_fraction": 0.0, "disk_fraction": 0.0}
    for wanted, told in [(None, f"{cores()} cores"), (3, "data.workers 3")]:
        config = DataConfig(**given, workers=wanted, cache_dir=tmp_path / "cache")
        train = load_train(config)
        count = wanted or cores()
        said = f"samples are decoded on demand, by {count} workers a process: {told}\n"
        assert said in capsys.readouterr().out
        assert make_loader(train, [torch.tensor([0])]).num_workers == train.workers == count
