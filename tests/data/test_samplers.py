import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_dml.config import ConfigError
from ssl_dml.data.samplers import EpochBatches


def take(batches, count):
    return list(itertools.islice(batches, count))


def test_an_epoch_visits_distinct_samples_and_epochs_differ():
    batches = EpochBatches(10, 3, seed=0)
    first, second = (torch.cat(take(batches, 6)[i : i + 3]) for i in (0, 3))
    assert batches.per_epoch == 3
    assert len(first.unique()) == len(second.unique()) == 9
    assert not torch.equal(first, second)


def test_every_sample_is_visited_over_epochs():
    seen = torch.cat(take(EpochBatches(10, 4, seed=0), 40))
    assert len(seen.unique()) == 10


@given(
    size=st.integers(4, 40),
    part=st.integers(1, 4),
    world=st.sampled_from([1, 2, 4]),
    start=st.integers(0, 30),
)
def test_processes_together_visit_what_one_would_from_any_start(size, part, world, start):
    batch = part * world
    if batch > size:
        return
    whole = take(EpochBatches(size, batch, seed=3), start + 5)[start:]
    parts = [
        take(EpochBatches(size, batch, seed=3, start=start, rank=r, world_size=world), 5)
        for r in range(world)
    ]
    for step in range(5):
        assert torch.equal(torch.cat([rows[step] for rows in parts]), whole[step])


@pytest.mark.parametrize(
    ("size", "batch", "world", "words"),
    [
        (3, 4, 1, "data.batch_size must be from 1 to the number of samples, 3; got 4"),
        (9, 5, 2, "must be a multiple of their number, 2; got 5"),
    ],
)
def test_refuses_batches_that_cannot_be(size, batch, world, words):
    with pytest.raises(ConfigError, match=words):
        EpochBatches(size, batch, seed=0, world_size=world)


@pytest.mark.parametrize(
    ("size", "batch", "world", "works"),
    [(9, 256, 1, 9), (9, 256, 4, 8), (9, 7, 2, 6), (9, 3, 4, 4)],
)
def test_the_batch_that_is_named_works(size, batch, world, works):
    with pytest.raises(ConfigError, match=rf"got {batch}: set it to {works}$"):
        EpochBatches(size, batch, seed=0, world_size=world)
    parts = [EpochBatches(size, works, seed=0, rank=r, world_size=world) for r in range(world)]
    assert len(torch.cat([next(iter(part)) for part in parts]).unique()) == works


def test_every_process_needs_a_sample():
    with pytest.raises(ConfigError, match="samples, 3; got 3: 4 samples or more are needed"):
        EpochBatches(3, 3, seed=0, world_size=4)
