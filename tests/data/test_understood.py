import json

import pytest
from PIL import Image

from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.understood import announce, describe


@pytest.fixture
def folder(tmp_path):
    for name in ("train/ant/1", "train/ant/2", "train/bee/1", "test/ant/1", "test/bee/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    return tmp_path


def loaded(source, **given):
    config = DataConfig(source=str(source), **given)
    train = load_train(config)
    return train, load_test(config, train)


def test_what_is_said_of_a_folder(folder, capsys):
    announce(*loaded(folder))
    assert capsys.readouterr().out.splitlines() == [
        "3 samples of 8x8, 1 channels",
        "labels: 2 classes by sub-folders, of 1 (bee) to 2 (ant) samples",
        "test: 2 samples, labels: 2 classes by sub-folders, of 1 samples",
        "sizes: all 8x8; decoding to 8x8",
        "splits by name: train to train on, test to test on",
    ]


def test_what_is_saved_of_it(folder):
    about = json.loads(json.dumps(describe(*loaded(folder), "here")))
    assert about["labels"] == {
        "labeled_by": "sub-folders",
        "classes": 2,
        "unlabeled": 0,
        "smallest_class": ["bee", 1],
        "largest_class": ["ant", 2],
    }
    assert about["test_labels"]["classes"] == 2
    assert about["found"]["median"] == [8, 8]


def test_damaged_samples_and_no_labels_are_said(folder, capsys):
    (folder / "train/bee/2.png").write_bytes(b"no")
    announce(*loaded(folder, on_error="skip", use_labels=False))
    printed = capsys.readouterr().out
    assert "no labels" in printed
    assert "1 damaged samples are left out; data.json names them" in printed


def test_columns_are_named(clothes, capsys):
    announce(clothes, None)
    assert "10 classes by column 'label', of 1,000 samples" in capsys.readouterr().out
