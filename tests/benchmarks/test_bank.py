import torch
from benchmarks import bank_costs

from ssl_dml.memory import BankStorage


def test_a_median_for_each_size():
    for storage in (BankStorage(), BankStorage(dtype="bfloat16")):
        found = bank_costs(
            [300, 1000, 2000],
            draw_for="batch",
            storage=storage,
            device=torch.device("cpu"),
            rounds=2,
        )
        assert len(found) == 3
        assert all(took > 0 for took in found)
