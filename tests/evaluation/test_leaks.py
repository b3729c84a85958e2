import pytest
import torch

from ssl_dml.evaluation.leaks import leak_effect


def test_the_effect_is_the_difference_of_the_two_accuracies():
    generator = torch.Generator().manual_seed(0)
    right, leaked = torch.rand(2, 300, generator=generator) < torch.tensor([[0.7], [0.1]])
    found = leak_effect(right, leaked)
    expected = right.double().mean() - right[~leaked].double().mean()
    assert found.mean == pytest.approx(expected.item(), abs=1e-12)
    assert found.low < found.mean < found.high


def test_without_a_leak_there_is_no_effect():
    assert tuple(leak_effect(torch.arange(9) < 4, torch.zeros(9, dtype=torch.bool))) == (0, 0, 0)


def test_a_leak_of_everything_has_no_effect_to_tell():
    with pytest.raises(ValueError, match="every test sample is leaked"):
        leak_effect(torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool))


def test_the_interval_covers_the_true_effect():
    generator, leaked = torch.Generator().manual_seed(1), torch.arange(400) < 40
    covered = 0
    for seed in range(60):
        chance = torch.where(leaked, 0.95, 0.7)
        right = torch.rand(400, generator=generator) < chance
        found = leak_effect(right, leaked, draws=200, seed=seed)
        covered += found.low <= 0.1 * (0.95 - 0.7) <= found.high
    assert covered >= 55
