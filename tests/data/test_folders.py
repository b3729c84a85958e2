import os

import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.opening import open_source


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def opened(where, split="train", **given):
    return open_source(str(where), split, image_column="image", label_column="label", **given)


def names(source):
    return [os.path.relpath(path, os.path.commonpath(source.paths)) for path in source.paths]


def test_folder_with_classes(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/.hidden.png", "b/notes.txt"):
        image(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    source = opened(tmp_path)
    assert [source.name(i) for i in range(2)] == [str(tmp_path / n) for n in ("a/1.png", "b/2.png")]
    assert source.class_names == ["a", "b"]
    assert source.labels == [0, 1]


@pytest.mark.parametrize("names", [["1.png", "a/2.png"], ["a/1.png", "a/2.png"], ["1.png"]])
def test_folder_without_classes(tmp_path, names):
    for name in names:
        image(tmp_path / name)
    assert opened(tmp_path).labels is None


def test_folder_with_train_and_val(tmp_path):
    for name in ("train/a/1.png", "train/b/2.png", "val/b/3.png", "val/a/4.png", "val/a/5.png"):
        image(tmp_path / name)
    assert len(opened(tmp_path)) == 2
    assert len(opened(tmp_path, "test")) == 3


def test_a_folder_called_test_beside_other_classes_is_a_class(tmp_path):
    for name in ("test/1.png", "other/2.png"):
        image(tmp_path / name)
    assert opened(tmp_path, use_splits=False).class_names == ["other", "test"]
    assert opened(tmp_path, "test", use_splits=False) is None


def test_a_folder_called_test_beside_others_is_asked_about(tmp_path):
    for name in ("test/1.png", "other/2.png"):
        image(tmp_path / name)
    with pytest.raises(ConfigError, match=r"\(test\) with others \(other\).*use_splits false"):
        opened(tmp_path)


@pytest.mark.parametrize(("train", "test"), [
    ("Training", "Testing"), ("TRAIN", "TEST"), ("trn", "valid"), ("train2017", "val2017"),
    ("train_set", "test_set"), ("train-images", "held_out"), ("seg_train", "seg_test"),
    ("train", "dev"), ("trainset", "evaluation"),
])  # fmt: skip
def test_splits_are_found_in_usual_spellings(tmp_path, train, test):
    for name in ("a/1.png", "b/2.png"):
        image(tmp_path / train / name)
    image(tmp_path / test / "b/3.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/all.json").touch()
    source, held = opened(tmp_path), opened(tmp_path, "test")
    assert (len(source), source.labels, source.class_names) == (2, [0, 1], ["a", "b"])
    assert (len(held), held.labels, held.class_names) == (1, [0], ["b"])
    assert f"splits by name: {train} to train on, {test} to test on" in source.notes


def test_test_is_preferred_to_validation_and_several_trains_are_one(tmp_path):
    for name in ("train-1/a/1.png", "train-2/b/2.png", "val/a/3.png", "test/a/4.png"):
        image(tmp_path / name)
    assert opened(tmp_path).labels == [0, 1]
    assert names(opened(tmp_path, "test")) == ["."]
    assert opened(tmp_path, "test").notes == [
        "splits by name: train-1, train-2 to train on, test to test on; val not used"
    ]


def test_a_test_folder_is_read_if_it_is_named_itself(tmp_path):
    image(tmp_path / "x/test/a/1.png")
    image(tmp_path / "x/test/b/2.png")
    with pytest.raises(ConfigError, match=r"\(test\) and none to train on: name one .*x/test"):
        opened(tmp_path / "x")
    assert opened(tmp_path / "x/test").labels == [0, 1]
    assert len(opened(tmp_path / "x", use_splits=False)) == 2
    (tmp_path / "x/test").rename(tmp_path / "x/again")
    (tmp_path / "x").rename(tmp_path / "test")
    (tmp_path / "test/again").rename(tmp_path / "test/test")
    assert opened(tmp_path / "test").labels == [0, 1]


def test_splits_within_classes_are_splits(tmp_path):
    for name in ("cat/train/1.png", "cat/test/2.png", "dog/train/3.png"):
        image(tmp_path / name)
    assert opened(tmp_path).labels == [0, 1]
    assert opened(tmp_path, "test").class_names == ["cat"]
    image(tmp_path / "bird/4.png")
    with pytest.raises(ConfigError, match="with others \\(bird/\\)"):
        opened(tmp_path)


def test_splits_within_the_train_folder_are_splits(tmp_path):
    for name in ("train/train/a/1.png", "train/train/b/2.png", "train/val/a/3.png"):
        image(tmp_path / name)
    assert len(opened(tmp_path)) == 2
    assert len(opened(tmp_path, "test")) == 1


def test_folders_of_one_folder_are_looked_through(tmp_path):
    for name in ("images/images/cat/1.png", "images/images/dog/old/2.png"):
        image(tmp_path / name)
    assert opened(tmp_path).class_names == ["cat", "dog"]
    image(tmp_path / "images/images/val/3.png")
    (tmp_path / "images/images/cat").rename(tmp_path / "images/images/train")
    with pytest.raises(ConfigError, match=r"images/images' mixes .* with others \(dog\)"):
        opened(tmp_path)


def test_few_images_beside_classes_are_unlabeled(tmp_path):
    for i in range(5):
        image(tmp_path / f"a/{i}.png")
        image(tmp_path / f"b/{i}.png")
    image(tmp_path / "0.png")
    source = opened(tmp_path)
    assert source.labels == [-1, *[0] * 5, *[1] * 5]
    assert source.notes == ["1 files beside the sub-folders of classes are unlabeled"]
    for i in range(5):
        image(tmp_path / f"{i}.png")
    assert opened(tmp_path).labels is None
    assert opened(tmp_path).notes == ["no labels: 5 of 15 files are beside the sub-folders a, b"]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no image"):
        opened(tmp_path)


def test_what_is_left_out_is_counted(tmp_path):
    image(tmp_path / "1.png")
    for name in ("a.txt", "b.TXT", "c.xyz", "LICENSE"):
        (tmp_path / name).write_text("words")
    assert opened(tmp_path).notes == ["files left out: 2 .txt, 1 .xyz, 1 without suffix"]
