import os
import socket

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.opening import open_source


def opened(where, split="train"):
    return open_source(str(where), split, image_column="image", label_column="label")


def table(labels):
    images = [Image.new("L", (4, 4), v) for v in range(len(labels))]
    return datasets.Dataset.from_dict({"image": images, "label": labels}).cast_column(
        "image", datasets.Image()
    )


@pytest.mark.parametrize(("name", "train", "test", "classes"), [
    ("fashion_mini", 10_000, 2_000, 10), ("hangul", 10_080, 4_320, 420),
])  # fmt: skip
def test_embedded_samples(name, train, test, classes):
    source = opened(name)
    assert len(source) == train
    assert len(opened(name, "test")) == test
    assert len(source.class_names) == classes == len(set(source.labels))
    assert source.read(0).mode == "L"


def test_parquet_file_folder_and_glob(tmp_path):
    data = table(["x", "y", "x"])
    for name in ("train-0.parquet", "train-1.parquet", "test-0.parquet"):
        data.to_parquet(tmp_path / name)
    assert len(opened(tmp_path / "train-0.parquet")) == 3
    assert len(opened(tmp_path)) == 6
    assert len(opened(tmp_path, "test")) == 3
    source = opened(tmp_path / "train-*.parquet")
    assert len(source) == 6
    assert source.class_names == ["x", "y"]
    assert source.labels == [0, 1, 0, 0, 1, 0]
    assert np.asarray(source.read(4)).max() == 1


def test_saved_dataset(tmp_path):
    table([0, 1]).save_to_disk(tmp_path / "one")
    assert len(opened(tmp_path / "one")) == 2
    both = datasets.DatasetDict({"train": table([0, 1]), "test": table([1])})
    both.save_to_disk(tmp_path / "two")
    assert len(opened(tmp_path / "two")) == 2
    assert len(opened(tmp_path / "two", "test")) == 1


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("./nowhere", "there is no such file or folder"),
        ("/no/where/at/all", "there is no such file or folder"),
    ],
)
def test_a_missing_folder_is_named(where, words):
    with pytest.raises(ConfigError, match=words):
        opened(where)


def test_a_hub_name_without_a_network_names_the_embedded_samples(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="fashion_mini, hangul") as caught:
        opened("cifar10")
    assert "\n" not in str(caught.value)


def test_another_kind_of_file_is_named(tmp_path):
    (tmp_path / "x.txt").touch()
    with pytest.raises(ConfigError, match="neither a folder nor a parquet file"):
        opened(tmp_path / "x.txt")


@pytest.mark.parametrize(("train", "test"), [("Training", "val"), ("TRAIN", "held_out")])
def test_splits_of_a_saved_data_set_in_usual_spellings(tmp_path, train, test):
    splits = {train: table([0, 1]), test: table([1]), "unsupervised": table([2])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "x")
    source = opened(tmp_path / "x")
    assert len(source) == 2
    assert len(opened(tmp_path / "x", "test")) == 1
    assert source.notes == [
        f"splits by name: {train} to train on, {test} to test on; unsupervised not used"
    ]
    together = open_source(
        str(tmp_path / "x"), "train", image_column="image", label_column="label", use_splits=False
    )
    assert len(together) == 4


def test_a_saved_data_set_without_a_train_split_is_refused(tmp_path):
    datasets.DatasetDict({"test": table([0]), "extra": table([1])}).save_to_disk(tmp_path / "x")
    with pytest.raises(ConfigError, match="has the splits test, extra and none to train on: set"):
        opened(tmp_path / "x")


def test_a_damaged_saved_data_set_is_named(tmp_path):
    table([0, 1]).save_to_disk(tmp_path / "x")
    next((tmp_path / "x").glob("*.arrow")).write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"x' cannot be read: .*save it again") as caught:
        opened(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_images_win_over_tables_below_a_folder(tmp_path):
    table([0, 1]).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "tables").mkdir()
    (tmp_path / "table.parquet").rename(tmp_path / "tables/x.parquet")
    assert len(opened(tmp_path)) == 2
    Image.new("L", (4, 4)).save(tmp_path / "1.png")
    assert opened(tmp_path).notes == ["files left out: 1 .parquet"]


def test_a_hub_that_does_not_answer_is_told_at_once(monkeypatch, capfd):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("ssl_dml.data.opening.getproxies", dict)
        with pytest.raises(ConfigError, match=r"no such file or folder.*there is no network$"):
            open_source("some/set", "train", image_column="image", label_column="label")
    assert "Retry" not in "".join(capfd.readouterr())
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.fixture
def saved(tmp_path):
    table([0, 1]).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def arrow(folder):
    return next(folder.glob("*.arrow"))


HURT = {
    "a pipe": lambda f: (arrow(f).unlink(), os.mkfifo(f / "data-00000-of-00001.arrow")),
    "a pipe for its description": lambda f: os.mkfifo(f / "dataset_dict.json"),
    "cut off": lambda f: arrow(f).write_bytes(arrow(f).read_bytes()[:200]),
    "bytes": lambda f: arrow(f).write_bytes(b"garbage"),
    "files elsewhere": lambda f: (f / "state.json").write_text(
        (f / "state.json").read_text().replace("data-", "../../data-")
    ),
    "no list of files": lambda f: (f / "state.json").write_text("{}"),
    "a list": lambda f: (f / "dataset_info.json").write_text("[]"),
    "half a description": lambda f: (f / "dataset_info.json").write_text("{"),
}


@pytest.mark.parametrize("hurt", HURT.values(), ids=HURT)
def test_a_damaged_saved_table_is_one_line(saved, hurt):
    hurt(saved)
    with pytest.raises(ConfigError, match=r"^data\.source .*saved' .*; save it again$") as told:
        opened(saved)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["a.png", "a.parquet", "a.csv", "a.zip", "a.tar", "a.npz", "a"])
def test_a_source_that_is_no_file_is_named(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match=rf"^data\.source .*{name}' is a pipe, and no file"):
        opened(tmp_path / name)
