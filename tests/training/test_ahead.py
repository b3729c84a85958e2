from pathlib import Path

import pytest
import torch
from launching import completed

from ssl_dml.training.ahead import on_device


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)
def test_batches_that_are_copied_ahead_are_the_same_in_the_same_order():
    """In a process of its own, whose accelerator is a pretend one."""
    done = completed(Path(__file__).with_name("rehearsal.py"))
    assert done.returncode == 0, done.stderr[-2000:]


def test_on_a_processor_nothing_is_read_ahead():
    taken = []

    def loader():
        for i in range(3):
            taken.append(i)
            yield torch.tensor([i]), torch.tensor([i])

    batches = on_device(loader(), torch.device("cpu"))
    assert [int(samples) for samples, _ in (next(batches), next(batches))] == [0, 1] == taken
