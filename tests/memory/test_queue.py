from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ssl_dml.memory import Queue
from ssl_dml.memory import queue as module


@given(size=st.integers(1, 9), batches=st.lists(st.integers(0, 20), max_size=12))
def test_is_a_deque(size, batches):
    ours, theirs, number = Queue(size, 1, batch_size=1), deque(maxlen=size), 0
    start = sorted(ours.keys[:, 0].tolist())
    for batch in batches:
        keys = torch.arange(number, number + batch, dtype=torch.float32)[:, None] + 10
        ours.enqueue(keys)
        theirs.extend(keys[:, 0].tolist())
        number += batch
    held = sorted(ours.keys[:, 0].tolist())
    assert [key for key in held if key >= 10] == sorted(theirs)
    assert len(held) == len(start)


def test_starts_with_unit_vectors():
    assert_close(Queue(8, 5, batch_size=1).keys.norm(dim=1), torch.ones(8))


def test_the_state_goes_on():
    queue, other = Queue(5, 2, batch_size=1), Queue(5, 2, batch_size=1)
    queue.enqueue(torch.randn(3, 2))
    other.load_state_dict(queue.state_dict())
    keys = torch.randn(4, 2)
    queue.enqueue(keys)
    other.enqueue(keys)
    assert torch.equal(queue.keys, other.keys)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_nearest_is_the_largest_product(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    queue, rows = Queue(10, 4, batch_size=1), torch.randn(6, 4)
    best = [max(queue.keys.tolist(), key=lambda k: float(row @ torch.tensor(k))) for row in rows]
    assert_close(queue.nearest(rows), torch.tensor(best))


def test_a_queue_smaller_than_the_batch_is_refused():
    with pytest.raises(ValueError, match="queue_size must be at least the batch, 256; got 128"):
        Queue(128, 4, batch_size=256)
