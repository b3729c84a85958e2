from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_dml.config import ConfigError
from ssl_dml.data.splits import hold_out, limit_per_class, relabel


def skewed(sizes, unknown=4):
    labels = [2 * i + 1 for i, size in enumerate(sizes) for _ in range(size)] + [-1] * unknown
    return torch.tensor(labels)[torch.randperm(len(labels))]


def counts(labels, rows):
    return Counter(labels[rows].tolist())


@given(fraction=st.floats(0.2, 0.8), by=st.sampled_from(["classes", "samples"]))
def test_each_labeled_row_is_in_one_part(fraction, by):
    labels = skewed([12] * 11 + [40])
    train, validation = hold_out(labels, fraction=fraction, by=by, seed=0)
    together = torch.cat([train, validation]).sort().values
    assert together.tolist() == [i for i, label in enumerate(labels.tolist()) if label >= 0]
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())


@pytest.mark.parametrize(("fraction", "held"), [(0.2, 2), (0.25, 3), (0.34, 3), (0.7, 7)])
def test_whole_classes_are_held_out(fraction, held):
    labels = skewed(range(2, 12))
    train, validation = hold_out(labels, fraction=fraction, by="classes", seed=0)
    assert len(counts(labels, validation)) == held
    assert not counts(labels, validation).keys() & counts(labels, train).keys()


def test_a_share_of_every_class_is_held_out_but_never_its_last_sample():
    labels = skewed([1, 2, 3, 4, 10, 40])
    train, validation = hold_out(labels, fraction=0.5, by="samples", seed=0)
    assert counts(labels, validation) == {3: 1, 5: 2, 7: 2, 9: 5, 11: 20}
    assert counts(labels, train) == {1: 1, 3: 1, 5: 1, 7: 2, 9: 5, 11: 20}
    train, validation = hold_out(labels, fraction=0.99, by="samples", seed=0)
    assert set(counts(labels, train).values()) == {1}


@pytest.mark.parametrize("by", ["classes", "samples"])
def test_the_seed_chooses(by):
    labels = skewed([6] * 20)
    first, again, other = (
        hold_out(labels, fraction=0.4, by=by, seed=seed)[1] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


@pytest.mark.parametrize(
    ("fraction", "by", "sizes", "words"),
    [
        (0.0, "classes", [4] * 9, r"validation.fraction must be between 0 and 1, got 0\.0"),
        (1.0, "samples", [4] * 9, r"validation.fraction must be between 0 and 1, got 1\.0"),
        (
            0.1,
            "classes",
            [4] * 9,
            "9 classes leaves 8 .* and 1 that have 2 samples or more .*; raise it",
        ),
        (0.9, "classes", [4] * 4, "4 classes leaves 0 classes to train on .*; lower it"),
        (
            0.5,
            "classes",
            [9, 1, 1, 1, 1],
            "and [01] that have 2 samples or more to .*; set it to null",
        ),
        (0.3, "samples", [1] * 9, "samples of 9 classes leaves 9 .* and 0 to .*; set it to null"),
        (0.1, "samples", [4] * 9, "samples of 9 classes leaves 9 .* and 0 to .*; raise it"),
        (0.5, "classes", [], "0 classes leaves 0"),
    ],
)
def test_refuses_parts_that_cannot_be(fraction, by, sizes, words):
    with pytest.raises(ConfigError, match=words):
        hold_out(skewed(sizes), fraction=fraction, by=by, seed=0)


@given(count=st.integers(1, 6), more=st.integers(0, 6), seed=st.integers(0, 9))
def test_few_samples_of_a_class_are_among_more_of_them(count, more, seed):
    labels = skewed([1, 3, 5, 9])
    rows = torch.randperm(len(labels))[:16]
    few, many = (limit_per_class(labels, rows, count=n, seed=seed) for n in (count, count + more))
    assert set(few.tolist()) <= set(many.tolist()) <= set(rows.tolist())
    there = counts(labels, rows)
    assert counts(labels, few) == {k: min(count, n) for k, n in there.items() if k >= 0}
    assert [row for row in rows.tolist() if row in set(few.tolist())] == few.tolist()


def test_which_samples_are_kept_depends_on_the_seed():
    labels, rows = torch.arange(200) % 5, torch.arange(200)
    kept = [limit_per_class(labels, rows, count=4, seed=seed).tolist() for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]


def test_numbers_are_held_out_whole_though_each_has_one_sample():
    train, validation = hold_out(
        torch.arange(20), fraction=0.25, by="classes", seed=0, min_per_class=1
    )
    assert (len(train), len(validation)) == (15, 5)


def test_one_sample_of_a_class_validates_beside_those_trained_on():
    labels = skewed([3] * 6)
    train, validation = hold_out(labels, fraction=0.3, by="samples", seed=0)
    assert set(counts(labels, validation).values()) == {1}
    assert set(counts(labels, train).values()) == {2}


def test_refuses_to_keep_no_samples():
    with pytest.raises(ConfigError, match=r"labels\.per_class must be at least 1, got 0"):
        limit_per_class(torch.tensor([0]), torch.tensor([0]), count=0, seed=0)


def test_classes_of_some_rows_are_numbered_from_0():
    labels = torch.tensor([7, -1, 3, 7, 5, 3, 9])
    renamed, number = relabel(labels, torch.tensor([4, 0, 1, 6]))
    assert renamed.tolist() == [1, -1, -1, -1, 0, -1, 2]
    assert number == 3
    renamed, number = relabel(labels, torch.tensor([1]))
    assert renamed.tolist() == [-1] * 7
    assert number == 0


@pytest.mark.parametrize(
    ("fraction", "by", "sizes", "remedy", "then"),
    [
        (0.1, "classes", [4] * 9, "raise it to 0.17", {"fraction": 0.17}),
        (0.9, "classes", [4] * 4, "lower it to 0.62", {"fraction": 0.62}),
        (0.3, "classes", [24] * 2, "set validation.by to samples", {"by": "samples"}),
        (0.3, "classes", [24] * 3, "set validation.by to samples", {"by": "samples"}),
        (
            0.1,
            "classes",
            [3, 2, 1],
            "set validation.by to samples and validation.fraction to 0.25",
            {"by": "samples", "fraction": 0.25},
        ),
        (0.1, "samples", [4] * 9, "raise it to 0.13", {"fraction": 0.13}),
    ],
)
def test_the_remedy_that_is_named_works(fraction, by, sizes, remedy, then):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    asked = {"fraction": fraction, "by": by}
    with pytest.raises(ConfigError) as refused:
        hold_out(labels, **asked, seed=0)
    assert str(refused.value).endswith(f"; {remedy}")
    train, validation = hold_out(labels, **(asked | then), seed=0)
    assert min(len(counts(labels, train)), len(counts(labels, validation))) >= 2


def test_numbers_of_one_sample_each_are_held_out_by_classes():
    with pytest.raises(ConfigError, match=r"; set validation.by to classes$"):
        hold_out(torch.arange(20), fraction=0.2, by="samples", seed=0, min_per_class=1)
    hold_out(torch.arange(20), fraction=0.2, by="classes", seed=0, min_per_class=1)


@pytest.mark.parametrize("by", ["classes", "samples"])
def test_one_class_cannot_be_split(by):
    with pytest.raises(ConfigError, match=r"; label samples of 2 classes or more$"):
        hold_out(torch.zeros(9, dtype=torch.long), fraction=0.5, by=by, seed=0)
