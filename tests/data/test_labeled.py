import pytest
import torch
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.labeled import (
    LabelConfig,
    LabeledBatches,
    LabeledSplit,
    ValidationConfig,
    label_values_of,
    split_labeled,
)

CLASSES = 10


@pytest.fixture
def folder(tmp_path):
    """Make a folder of images of classes of some sizes, and load it."""

    def make(*sizes):
        for number, size in enumerate(sizes):
            (tmp_path / f"class_{number}").mkdir()
            for i in range(size):
                Image.new("L", (8, 8), i).save(tmp_path / f"class_{number}" / f"{i}.png")
        return load_train(DataConfig(source=str(tmp_path)))

    return make


def test_held_out_classes_are_not_trained_on(clothes):
    rows = split_labeled(clothes, LabelConfig(), ValidationConfig(fraction=0.3), seed=0)
    held = {*clothes.labels[rows.queries].tolist()}
    assert len(held) == 3
    assert rows.num_classes == CLASSES - 3
    assert rows.gallery is None
    trained = rows.labels >= 0
    assert not held & {*clothes.labels[trained].tolist()}
    assert {*rows.labels[trained].tolist()} == {*range(CLASSES - 3)}


def test_held_out_samples_are_searched_among_those_trained_on(clothes):
    rows = split_labeled(
        clothes, LabelConfig(), ValidationConfig(fraction=0.1, by="samples"), seed=0
    )
    assert rows.num_classes == CLASSES
    assert not set(rows.queries.tolist()) & set(rows.gallery.tolist())
    assert len(rows.queries) + len(rows.gallery) == len(clothes)


def test_few_labels_of_each_class_are_drawn_by_the_seed(clothes):
    without = ValidationConfig(fraction=None)
    few = [
        split_labeled(clothes, LabelConfig(per_class=2), without, seed=seed) for seed in (0, 0, 1)
    ]
    for rows in few:
        assert rows.labels[rows.labels >= 0].bincount().tolist() == [2] * CLASSES
        assert len(rows.queries) == 0
    assert torch.equal(few[0].labels, few[1].labels)
    assert not torch.equal(few[0].labels, few[2].labels)


def test_the_fingerprint_changes_with_what_is_held_out_and_with_labels(clothes):
    divided = [
        split_labeled(
            clothes, LabelConfig(per_class=count), ValidationConfig(fraction=0.3, seed=seed), seed=0
        )
        for count, seed in ((None, 0), (None, 0), (None, 1), (5, 0))
    ]
    assert len({rows.num_classes for rows in divided}) == 1
    assert divided[0].fingerprint == divided[1].fingerprint
    assert len({rows.fingerprint for rows in divided}) == 3


@pytest.mark.parametrize("classes", [None, 5])
def test_batches_hold_labeled_samples_alone_and_go_on(clothes, classes):
    config = LabelConfig(per_class=20, classes_per_batch=classes)
    rows = split_labeled(clothes, config, ValidationConfig(fraction=None), seed=0)
    batches = LabeledBatches(rows, config, batch_size=40, seed=0)
    assert batches.per_epoch == 5
    whole = [batch for batch, _ in zip(batches, range(12), strict=False)]
    for batch in whole:
        assert (rows.labels[batch] >= 0).all()
        if classes:
            assert (rows.labels[batch].bincount() > 0).sum() == classes
    for batch, expected in zip(batches.skip(7), whole[7:], strict=False):
        assert torch.equal(batch, expected)


def test_numbers_keep_their_digits():
    large = label_values_of(["1700000000.25", "1700000001.5", "1700000003"])
    assert (large[1:] - large[:1])[:, 0].tolist() == [1.25, 2.75]
    assert label_values_of(["0.5 -1e3", "1.5 0"]).tolist() == [[-0.5, -500.0], [0.5, 500.0]]


def test_batches_are_drawn_around_an_anchor():
    targets = torch.randn(50, 1)
    labels = torch.arange(50).where(torch.arange(50) % 5 > 0, -1)
    rows = LabeledSplit(
        labels=labels, num_classes=40, queries=labels[:0], gallery=None, targets=targets
    )
    assert rows.given is targets
    config = LabelConfig(continuous=True, nearest=3)
    for batch, _ in zip(
        LabeledBatches(rows, config, batch_size=8, seed=0), range(20), strict=False
    ):
        assert (labels[batch] >= 0).all()
        far = (targets[labels >= 0] - targets[batch[0]]).abs()[:, 0].sort().values
        near = (targets[batch] - targets[batch[0]]).abs()[:, 0]
        assert near[:4].max() == far[3]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LabelConfig(per_class=0), "labels.per_class must be at least 1, got 0"),
        (
            lambda: LabelConfig(nearest=4),
            "labels.nearest is for continuous labels: set labels.continuous",
        ),
        (
            lambda: LabelConfig(nearest=4, classes_per_batch=2, continuous=True),
            "give either labels.nearest or labels.classes_per_batch",
        ),
        (lambda: label_values_of(["1", "shoe"]), "labels that are numbers .* one is 'shoe'"),
        (lambda: label_values_of(["1 2", "3"]), "as many of each sample, and one is '3'"),
        (lambda: label_values_of(["1", "nan"]), "one is 'nan'"),
        (lambda: label_values_of(["1", ""]), "one is ''"),
        (lambda: ValidationConfig(fraction=1.0), "validation.fraction must be above 0 and below 1"),
        (lambda: ValidationConfig(every_epochs=0), "validation.every_epochs must be at least 1"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ConfigError, match=words):
        build()


def test_labels_are_needed(folder, tmp_path):
    folder(2, 2)
    data = load_train(DataConfig(source=str(tmp_path), use_labels=False))
    with pytest.raises(ConfigError, match="fine-tuning needs labels and the samples have none"):
        split_labeled(data, LabelConfig(), ValidationConfig(), seed=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_validate_by_samples_as_the_error_says(folder, classes):
    samples = folder(*[5] * classes)
    with pytest.raises(ConfigError, match=r"; set validation.by to samples$"):
        split_labeled(samples, LabelConfig(), ValidationConfig(), seed=0)
    rows = split_labeled(samples, LabelConfig(), ValidationConfig(by="samples"), seed=0)
    assert (rows.num_classes, len(rows.queries)) == (classes, classes)


@pytest.mark.parametrize("by", ["classes", "samples"])
def test_classes_of_one_sample_train_without_validation_as_the_error_says(folder, by):
    samples = folder(1, 1, 1, 1, 1, 1)
    with pytest.raises(ConfigError, match=r"set it to null, or label more samples$"):
        split_labeled(samples, LabelConfig(), ValidationConfig(fraction=0.4, by=by), seed=0)
    rows = split_labeled(samples, LabelConfig(), ValidationConfig(fraction=None), seed=0)
    assert (rows.num_classes, len(rows.queries)) == (6, 0)


def test_one_class_is_nothing_to_fine_tune_on(folder):
    samples = folder(4, 3)
    samples.labels[samples.labels == 0] = -1
    words = "fine-tuning needs 2 classes or more to train on, got 1: label samples of others"
    with pytest.raises(ConfigError, match=words):
        split_labeled(samples, LabelConfig(), ValidationConfig(), seed=0)


def test_more_samples_of_a_class_than_there_are_is_refused(folder, capsys):
    samples, without = folder(3, 5), ValidationConfig(fraction=None)
    words = r"labels\.per_class is 9, and no class has more than 5 samples .* 5 or less, or to null"
    with pytest.raises(ConfigError, match=words):
        split_labeled(samples, LabelConfig(per_class=9), without, seed=0)
    capsys.readouterr()
    rows = split_labeled(samples, LabelConfig(per_class=5), without, seed=0)
    assert rows.labels.bincount().tolist() == [3, 5]
    said = "labels.per_class 5: 1 of 2 classes have fewer samples to train on, the smallest 3\n"
    assert capsys.readouterr().out == said
