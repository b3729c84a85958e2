import pytest
import torch

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.labelled import LabelConfig, LabelledBatches, ValidationConfig, divide

CLASSES = 10


@pytest.fixture(scope="module")
def clothes():
    return load_train(DataConfig(source="fashion_mini"))


def test_held_out_classes_are_not_trained_on(clothes):
    rows = divide(clothes, LabelConfig(), ValidationConfig(share=0.3), seed=0)
    held = {*clothes.labels[rows.queries].tolist()}
    assert len(held) == 3
    assert rows.num_classes == CLASSES - 3
    assert rows.gallery is None
    trained = rows.labels >= 0
    assert not held & {*clothes.labels[trained].tolist()}
    assert {*rows.labels[trained].tolist()} == {*range(CLASSES - 3)}


def test_held_out_samples_are_searched_among_those_trained_on(clothes):
    rows = divide(clothes, LabelConfig(), ValidationConfig(share=0.1, by="samples"), seed=0)
    assert rows.num_classes == CLASSES
    assert not set(rows.queries.tolist()) & set(rows.gallery.tolist())
    assert len(rows.queries) + len(rows.gallery) == len(clothes)


def test_few_labels_of_each_class_are_drawn_by_the_seed(clothes):
    without = ValidationConfig(share=None)
    few = [divide(clothes, LabelConfig(per_class=2), without, seed=seed) for seed in (0, 0, 1)]
    for rows in few:
        assert rows.labels[rows.labels >= 0].bincount().tolist() == [2] * CLASSES
        assert len(rows.queries) == 0
    assert torch.equal(few[0].labels, few[1].labels)
    assert not torch.equal(few[0].labels, few[2].labels)


@pytest.mark.parametrize("classes", [None, 5])
def test_batches_hold_labelled_samples_alone_and_go_on(clothes, classes):
    config = LabelConfig(per_class=20, classes_per_batch=classes)
    rows = divide(clothes, config, ValidationConfig(share=None), seed=0)
    batches = LabelledBatches(rows, config, batch_size=40, seed=0)
    assert batches.per_epoch == 5
    whole = [batch for batch, _ in zip(batches, range(12), strict=False)]
    for batch in whole:
        assert (rows.labels[batch] >= 0).all()
        if classes:
            assert (rows.labels[batch].bincount() > 0).sum() == classes
    later = LabelledBatches(rows, config, batch_size=40, seed=0, start=7)
    for batch, expected in zip(later, whole[7:], strict=False):
        assert torch.equal(batch, expected)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LabelConfig(per_class=0), "labels.per_class must be at least 1, got 0"),
        (lambda: ValidationConfig(share=1.0), "validation.share must be above 0 and below 1"),
        (lambda: ValidationConfig(every_epochs=0), "validation.every_epochs must be at least 1"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ConfigError, match=words):
        build()


def test_labels_are_needed():
    data = load_train(DataConfig(source="fashion_mini", labelled=False))
    with pytest.raises(ConfigError, match="fine-tuning needs labels and the pictures have none"):
        divide(data, LabelConfig(), ValidationConfig(), seed=0)
