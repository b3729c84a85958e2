import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ssl_dml.config import ConfigError
from ssl_dml.data.class_batches import ClassBatches, NeighborBatches


def take(batches, count):
    return list(itertools.islice(batches, count))


def skewed(sizes, unknown=5):
    """Labels of classes of these sizes, with gaps between their numbers, some unknown; shuffled."""
    labels = [3 * i for i, size in enumerate(sizes) for _ in range(size)] + [-1] * unknown
    return torch.tensor(labels)[torch.randperm(len(labels))]


sizes = st.lists(st.integers(1, 9), min_size=2, max_size=12)


@given(sizes=sizes, classes=st.integers(1, 12), batch=st.integers(1, 30), seed=st.integers(0, 99))
def test_a_batch_is_spread_evenly_over_distinct_classes(sizes, classes, batch, seed):
    assume(classes <= min(len(sizes), batch))
    labels = skewed(sizes)
    for rows in take(ClassBatches(labels, batch, classes=classes, seed=seed), 7):
        counts = Counter(labels[rows].tolist())
        assert len(rows) == batch
        assert len(counts) == classes
        assert -1 not in counts
        assert max(counts.values()) - min(counts.values()) <= 1
        for label, count in counts.items():
            distinct = rows[labels[rows] == label].unique()
            assert len(distinct) == min(count, sizes[label // 3])


@pytest.mark.parametrize(("fraction", "most"), [(0.25, 4), (0.5, 2), (0.75, 2)])
def test_a_share_of_classes_is_a_number_of_samples_each(fraction, most):
    labels = torch.arange(2000) % 200
    (rows,) = take(ClassBatches(labels, 128, classes=int(fraction * 128), seed=0), 1)
    counts = Counter(labels[rows].tolist())
    assert len(counts) == fraction * 128
    assert max(counts.values()) == most


@given(sizes=sizes, classes=st.integers(1, 12), first=st.integers(0, 3))
def test_every_pass_reaches_every_class(sizes, classes, first):
    assume(classes <= len(sizes))
    labels = skewed(sizes)
    of_a_pass = -(-len(sizes) // classes)
    batches = ClassBatches(labels, 2 * classes, classes=classes, seed=1, start=first * of_a_pass)
    seen = labels[torch.cat(take(batches, of_a_pass))]
    assert len(seen.unique()) == len(sizes)


def test_every_sample_is_drawn_about_equally_often_within_its_class():
    labels = torch.tensor([0] * 5 + [1] * 2)
    drawn = Counter(torch.cat(take(ClassBatches(labels, 4, classes=2, seed=0), 1000)).tolist())
    assert all(abs(drawn[i] - 400) < 60 for i in range(5))  # 4 standard deviations
    assert drawn[5] == drawn[6] == 1000


def test_passes_and_seeds_differ():
    labels = torch.arange(40) % 10
    whole = take(ClassBatches(labels, 20, classes=10, seed=0), 2)
    assert not torch.equal(*whole)
    assert not torch.equal(whole[0], *take(ClassBatches(labels, 20, classes=10, seed=1), 1))


@given(
    part=st.integers(2, 4),
    world=st.sampled_from([1, 2, 4]),
    start=st.integers(0, 30),
    kind=st.sampled_from(["classes", "neighbors"]),
)
def test_processes_together_visit_what_one_would_from_any_start(part, world, start, kind):
    batch, generator = part * world, torch.Generator().manual_seed(0)

    def make(**options):
        if kind == "classes":
            labels = torch.randint(-1, 7, (60,), generator=generator.manual_seed(0))
            return ClassBatches(labels, batch, classes=2, seed=3, **options)
        targets = torch.randn(19, generator=generator.manual_seed(0))
        return NeighborBatches(targets, batch, nearest=1, seed=3, **options)

    whole = take(make(), start + 5)[start:]
    parts = [take(make(start=start, rank=r, world_size=world), 5) for r in range(world)]
    for step in range(5):
        rows = [steps[step] for steps in parts]
        assert torch.equal(torch.cat(rows), whole[step])
        if kind == "neighbors":
            assert len(torch.cat(rows).unique()) == batch


def test_the_parts_of_all_processes_have_about_the_same_mix():
    labels = torch.arange(400) % 20
    for world in (2, 4):
        parts = [
            ClassBatches(labels, 64, classes=12, seed=0, rank=r, world_size=world)
            for r in range(world)
        ]
        mixes = [Counter(labels[take(part, 1)[0]].tolist()) for part in parts]
        for label in set().union(*mixes):
            counts = [mix[label] for mix in mixes]
            assert max(counts) - min(counts) <= 1


def test_an_epoch_is_as_many_samples_as_have_a_label():
    assert ClassBatches(skewed([4, 4, 5]), 4, classes=2, seed=0).per_epoch == 3
    assert ClassBatches(torch.tensor([0, 1]), 8, classes=2, seed=0).per_epoch == 1
    assert NeighborBatches(torch.randn(10), 3, nearest=1, seed=0).per_epoch == 3


def test_a_million_classes_of_one_sample_are_as_good_as_few():
    labels = torch.randperm(1_000_000)
    rows = torch.cat(take(ClassBatches(labels, 64, classes=32, seed=0), 20))
    assert len(labels[rows].unique()) == 640


@given(
    levels=st.integers(2, 30),
    dim=st.sampled_from([None, 1, 3]),
    nearest=st.integers(1, 7),
    start=st.integers(0, 60),
)
def test_an_anchor_comes_with_its_nearest_and_others(levels, dim, nearest, start):
    shape = (25,) if dim is None else (25, dim)
    targets = torch.randint(levels, shape).float()  # with many equal distances
    (rows,) = take(NeighborBatches(targets, 8, nearest=nearest, seed=0, start=start), 1)
    assert len(rows.unique()) == 8
    values = targets.reshape(25, -1).numpy()
    far = np.linalg.norm(values - values[int(rows[0])], axis=1)
    others = np.delete(far, int(rows[0]))
    np.testing.assert_allclose(
        np.sort(far[rows[1 : nearest + 1].numpy()]), np.sort(others)[:nearest]
    )


def test_every_sample_is_an_anchor_once_a_pass():
    batches = NeighborBatches(torch.randn(12, 2), 4, nearest=2, seed=0)
    anchors = [int(rows[0]) for rows in take(batches, 24)]
    assert sorted(anchors[:12]) == sorted(anchors[12:]) == list(range(12))
    assert anchors[:12] != anchors[12:]


def test_equally_near_neighbors_take_turns():
    targets = torch.tensor([0.0] * 20 + [9.0] * 20)
    drawn = Counter(
        int(row)
        for rows in take(NeighborBatches(targets, 4, nearest=3, seed=0), 400)
        for row in rows[1:]
    )
    assert len(drawn) == 40
    assert all(abs(count - 30) < 22 for count in drawn.values())  # 4 standard deviations


@pytest.mark.parametrize(
    ("labels", "batch", "options", "words"),
    [
        ([0, 0, 1, -1], 4, {"classes": 3}, "the number of classes that have samples, 2; got 3"),
        ([-1, -1], 4, {"classes": 1}, "the number of classes that have samples, 0; got 1"),
        ([0, 1], 4, {"classes": 0}, r"labels\.classes_per_batch must be from 1 to .* got 0"),
        ([0, 1, 2], 2, {"classes": 3}, "at least the classes in a batch, 3, .* got 2"),
        ([0, 1], 5, {"classes": 2, "world_size": 2}, "a multiple of their number, 2; got 5"),
    ],
)
def test_refuses_class_batches_that_cannot_be(labels, batch, options, words):
    with pytest.raises(ConfigError, match=words):
        ClassBatches(torch.tensor(labels), batch, seed=0, **options)


@pytest.mark.parametrize(
    ("targets", "batch", "options", "words"),
    [
        ([0.0, 1.0], 3, {"nearest": 1}, "from 1 to the number of samples, 2; got 3"),
        ([0.0, 1.0, 2.0], 3, {"nearest": 3}, "the batch without its anchor, 2; got 3"),
        ([0.0, 1.0, 2.0], 3, {"nearest": 0}, "nearest must be from 1 .* got 0"),
        ([0.0, float("nan")], 2, {"nearest": 1}, "targets must be finite; that of sample 1 is not"),
        ([0.0, 1.0, 2.0], 3, {"nearest": 1, "world_size": 2}, "multiple of their number, 2; got 3"),
    ],
)
def test_refuses_dense_triplets_that_cannot_be(targets, batch, options, words):
    with pytest.raises(ConfigError, match=words):
        NeighborBatches(torch.tensor(targets), batch, seed=0, **options)


@pytest.mark.parametrize(
    ("batch", "classes", "works"), [(12, 30, 5), (4, 30, 4), (4, 5, 4), (12, 6, 5)]
)
def test_the_number_of_classes_that_is_named_works(batch, classes, works):
    labels = torch.arange(40) % 5
    words = (
        rf"labels\.classes_per_batch.* {works} or less$|got {classes}: set it to {works} or less$"
    )
    with pytest.raises(ConfigError, match=words):
        ClassBatches(labels, batch, classes=classes, seed=0)
    rows = next(iter(ClassBatches(labels, batch, classes=works, seed=0)))
    assert len(labels[rows].unique()) == works


def test_the_batch_of_neighbors_that_is_named_works():
    targets = torch.arange(9.0)
    with pytest.raises(ConfigError, match=r"samples, 9; got 256: set it to 8$"):
        NeighborBatches(targets, 256, nearest=3, seed=0, world_size=2)
    assert len(next(iter(NeighborBatches(targets, 8, nearest=3, seed=0, world_size=2)))) == 4
