from pathlib import Path

import pytest

from ssl_dml.config import ConfigError
from ssl_dml.data.layout import Files, class_labels, divide

ROOT = Path("/root")


def files(*names):
    return Files.below(ROOT, [ROOT / name for name in names])


def names(found):
    return None if found is None else [str(path.relative_to(ROOT)) for path in found.paths]


def test_splits_lie_below_wrapper_folders():
    train, test = divide(files("data/v2/Train/a/1", "data/v2/val/b/2"), split="train")
    assert names(train) == ["data/v2/Train/a/1"]
    assert names(test) == ["data/v2/val/b/2"]
    assert train.folders == [("data", "v2", "a")]


def test_splits_lie_within_classes():
    train, test = divide(files("a/train/1", "a/test/2", "b/train/3", "b/test/4"), split="train")
    assert names(train) == ["a/train/1", "b/train/3"]
    assert class_labels(test, train)[:2] == ([0, 1], ["a", "b"])


def test_without_names_of_splits_all_is_train():
    train, test = divide(files("a/1", "b/2"), split="train")
    assert (names(train), test) == (["a/1", "b/2"], None)


def test_a_mixture_is_refused():
    with pytest.raises(ConfigError, match="mixes sub-folders that look like splits"):
        divide(files("train/1", "cat/2"), split="train")


def test_within_a_split_a_class_may_be_called_like_one():
    those = files("train/a/1", "train/folder-development/2", "test/a/3")
    train, test = divide(those, split="train")
    assert class_labels(train)[:2] == ([0, 1], ["a", "folder-development"])
    assert names(test) == ["test/a/3"]
    with pytest.raises(ConfigError, match="mixes"):
        divide(files("train/train/1", "train/cat/2"), split="train")


def test_classes_are_the_first_folders_that_are_several():
    assert class_labels(files("all/cat/1", "all/ant/x/2", "all/cat/3")) == (
        [1, 0, 1], ["ant", "cat"], []
    )  # fmt: skip
    assert class_labels(files("all/1", "all/2")) == (None, [], [])


def test_a_few_files_beside_classes_are_unlabeled_and_many_undo_them():
    inside = [f"{name}/{number}" for name in "ab" for number in range(5)]
    labels, _, notes = class_labels(files("x", *inside))
    assert labels == [-1, *[0] * 5, *[1] * 5]
    assert notes == ["1 files beside the sub-folders of classes are unlabeled"]
    labels, _, notes = class_labels(files("x", "y", "z", *inside))
    assert labels is None
    assert "no labels: 3 of 13 files are beside the sub-folders" in notes[0]


def test_a_test_split_of_one_class_is_labeled_where_training_has_several():
    train, test = files("a/1", "b/2"), files("b/3")
    assert class_labels(test)[0] is None
    assert class_labels(test, train)[:2] == ([0], ["b"])
