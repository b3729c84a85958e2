"""What ``data.exclude`` leaves out, from files as a user writes them."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.types import ConfigError


@pytest.fixture
def images(tmp_path):
    for number in range(8):
        path = tmp_path / "images" / ("train", "test")[number > 5] / "ab"[number % 2]
        path.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * number).save(path / f"{number}.png")
    return tmp_path / "images"


def shades(samples):
    return samples[torch.arange(len(samples))][0][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("fractions", [(0.25, 0.5), (0.0, 0.5), (0.0, 0.0)])
def test_named_samples_are_left_out_however_they_are_kept(images, tmp_path, fractions):
    names = tmp_path / "drop.txt"
    relative, whole = "train/a/2.png", str(images / "test/b/7.png")
    names.write_text(f"# an audit\n{relative}\n{whole}\n\nnothing.png\n")
    memory, disk = fractions
    config = DataConfig(
        source=str(images), exclude=names, cache_dir=tmp_path / "cache",
        memory_fraction=memory, disk_fraction=disk,
    )  # fmt: skip
    train = load_train(config)
    test = load_test(config, train)
    assert shades(train) == [0, 40, 10, 30, 50]
    assert train.labels.tolist() == [0, 0, 1, 1, 1]
    assert [name[-5] for name in train.names] == ["0", "4", "1", "3", "5"]
    assert train.notes[-1] == "data.exclude: 1 samples left out; 2 of 3 lines name none of them"
    assert shades(test) == [60]
    whole = load_train(DataConfig(source=str(images)))
    assert len(whole) == 6
    assert train.fingerprint != whole.fingerprint
    assert train.content != whole.content
    assert np.isin(train.digests, whole.digests).all()


def test_a_list_that_cannot_serve_is_one_line(images, tmp_path):
    with pytest.raises(ConfigError, match=r"data.exclude '.*none.txt' cannot be read"):
        load_train(DataConfig(source=str(images), exclude=tmp_path / "none.txt"))
    with pytest.raises(ConfigError, match="is a folder, and no file"):
        load_train(DataConfig(source=str(images), exclude=tmp_path))
    names = tmp_path / "all.txt"
    names.write_text("\n".join(str(path) for path in images.rglob("*.png")))
    with pytest.raises(ConfigError, match="names all 6 samples"):
        load_train(DataConfig(source=str(images), exclude=names))
