from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ssl_dml.memory import CrossBatchMemory


@given(size=st.integers(1, 9), batches=st.lists(st.integers(0, 20), max_size=12))
def test_is_a_deque_of_rows_with_their_labels(size, batches):
    ours, theirs, number = CrossBatchMemory(size, 2), deque(maxlen=size), 0
    for batch in batches:
        labels = torch.arange(number, number + batch)
        ours.enqueue(labels[:, None] + torch.tensor([0.0, 0.5]), labels)
        theirs.extend(labels.tolist())
        number += batch
    rows, labels = ours.rows()
    filled = labels >= 0
    assert sorted(labels[filled].tolist()) == list(theirs)
    assert_close(rows[filled], labels[filled, None] + torch.tensor([0.0, 0.5]))
    assert not rows[~filled].any()


def test_a_copy_is_not_changed_by_later_batches():
    memory = CrossBatchMemory(4, 2)
    memory.enqueue(torch.ones(3, 2), torch.tensor([1, 2, 3]))
    rows, labels = memory.rows()
    memory.enqueue(torch.zeros(4, 2), torch.tensor([4, 5, 6, 7]))
    assert labels.tolist() == [1, 2, 3, -1]
    assert rows[:3].all()


def test_the_state_goes_on():
    memory, other = CrossBatchMemory(5, 2), CrossBatchMemory(5, 2)
    memory.enqueue(torch.randn(3, 2), torch.arange(3))
    other.load_state_dict(memory.state_dict())
    rows = torch.randn(4, 2)
    for one in (memory, other):
        one.enqueue(rows, torch.arange(4))
    assert_close(other.state_dict(), memory.state_dict(), rtol=0, atol=0)


def test_rows_have_no_gradient_and_keep_the_type_of_the_memory():
    memory = CrossBatchMemory(2, 2).double()
    memory.enqueue(torch.ones(2, 2, requires_grad=True), torch.tensor([0, 1]))
    rows, _ = memory.rows()
    assert rows.dtype == torch.float64
    assert not rows.requires_grad


def test_a_memory_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        CrossBatchMemory(0, 2)
