import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.training import warmup_cosine


def rates(steps, warmup, peak=0.3):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler = warmup_cosine(optimizer, steps=steps, warmup=warmup)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen, optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (7, 0), (100, 10), (1001, 333)])
def test_ends_at_zero_exactly_and_never_exceeds_the_peak(steps, warmup):
    seen, last = rates(steps, warmup)
    assert last == 0.0
    assert max(seen) == seen[warmup] == 0.3
    assert min(seen) > 0


def test_matches_the_definition():
    seen, _ = rates(20, 4)
    for step, rate in enumerate(seen):
        expected = (step + 1) / 5 if step < 4 else (1 + math.cos(math.pi * (step - 4) / 16)) / 2
        assert_close(rate, 0.3 * expected)


def test_refuses_a_warm_up_longer_than_the_run():
    with pytest.raises(ValueError, match=r"train\.warmup_epochs must be shorter .* 9 of 9 steps"):
        rates(9, 9)
