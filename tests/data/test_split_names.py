import pytest

from ssl_dml.config import ConfigError
from ssl_dml.data.split_names import check_splits, notes_on, printable, split_names


@pytest.mark.parametrize(("kind", "names"), [
    ("train", "train TRAIN Training training_set trainset train2017 trn train-clean-100 trainval "
              "train_images TrainImages 01_train train-00000-of-00008-a09b74b3ef9c3b56"),
    ("test", "test Testing tst test_set PublicTest test-dev test-other TEST2"),
    ("validation", "val valid VALIDATION val2017 dev devel eval evaluation held_out Held-Out "
                   "holdout hold-out val_images"),
    (None, "bullet_train test_tube latest contest Trains devil value x_train"),
])  # fmt: skip
def test_kinds_of_names(kind, names):
    for name in names.split():
        assert split_names([name]).kinds.get(name) == kind, name


def test_what_names_share_does_not_count():
    found = split_names(["x_train", "x_test", "y_train"])
    assert (found.train, found.test, found.others) == (["x_train"], ["x_test"], ["y_train"])
    assert split_names(["y_train"], loose=True).train == ["y_train"]


def test_validation_serves_as_test_if_there_is_no_other():
    assert split_names(["train", "val"]).test == ["val"]
    both = split_names(["train", "val", "test"])
    assert (both.test, both.unused) == (["test"], ["val"])
    assert notes_on(both) == ["splits by name: train to train on, test to test on; val not used"]


def test_doubt_is_refused_with_a_remedy():
    with pytest.raises(
        ConfigError, match=r"'x' mixes files that .* \(test\) with others \(a\): do"
    ):
        check_splits(split_names(["test", "a"]), "x", things="files", remedy="do")
    only = split_names(["test"])
    with pytest.raises(ConfigError, match=r"files to test on \(test\) and none to train on: do"):
        check_splits(only, "x", things="files", remedy="do")
    check_splits(only, "x", things="files", remedy="do", split="test")


def test_names_are_shown_on_one_line():
    assert printable("ünï\n\udce9") == "ünï\\n\\xe9"
