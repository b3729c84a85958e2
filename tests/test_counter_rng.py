import numpy as np
import torch
from scipy.stats import chisquare

from ssl_dml.counter_rng import counter_based_indices

MASK = 2**64 - 1


def splitmix(state):
    """SplitMix64's finalizer in Python integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def reference(instance, step, count, high):
    gamma = 0x9E3779B97F4A7C15
    seed = splitmix((splitmix((instance + gamma) & MASK) + step * gamma) & MASK)
    return [(splitmix((seed + i * gamma) & MASK) >> 1) % high for i in range(1, count + 1)]


def test_matches_unsigned_arithmetic():
    instances, step = torch.tensor([0, 5, 123_456_789]), torch.tensor(42)
    drawn = counter_based_indices(instances, step, count=4, high=1000)
    assert drawn.tolist() == [reference(i, 42, 4, 1000) for i in instances.tolist()]


def test_depends_on_instance_and_step_alone():
    together = counter_based_indices(torch.arange(8), torch.tensor(3), count=16, high=99)
    apart = [
        counter_based_indices(torch.tensor([i]), torch.tensor(3), count=16, high=99)
        for i in range(8)
    ]
    assert torch.equal(together, torch.cat(apart))
    assert not torch.equal(
        together, counter_based_indices(torch.arange(8), torch.tensor(4), count=16, high=99)
    )


def test_is_uniform_and_uncorrelated():
    drawn = counter_based_indices(torch.arange(64), torch.tensor(0), count=4096, high=10).numpy()
    assert chisquare(np.bincount(drawn.ravel(), minlength=10)).pvalue > 1e-3
    between = np.corrcoef(drawn)[np.triu_indices(64, 1)]
    assert np.abs(between).max() < 5 / 64
