import json
from pathlib import Path

import pytest
import torch
from measuring import measured

from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.types import ProcessGroup


class Second(ProcessGroup):
    """The second of three processes, whose sums are with what the others have."""

    rank, count = 1, 3

    def __init__(self, others):
        self.others = others

    def ring_shift(self, *blocks):
        raise NotImplementedError

    def gather(self, rows):
        raise NotImplementedError

    def all_reduce_sum(self, values):
        return values + self.others


def test_shares_are_whole_together():
    compute = Compute(group=Second(torch.tensor([1, 0, 1, 1], dtype=torch.uint8)))
    mine = torch.zeros(4, dtype=torch.bool)
    mine[compute.share] = True
    assert mine.tolist() == [False, True, False, False]
    assert compute.whole(mine).tolist() == [True] * 4
    assert compute.whole(mine).dtype == torch.bool


def test_float64_is_computed_where_it_can_be():
    assert ONE_PROCESS.precise == torch.device("cpu")
    assert Compute(device=torch.device("meta")).precise == torch.device("meta")


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)
def test_a_device_without_float64_measures_the_same(run_workers, tmp_path):
    run_workers(Path(__file__).parent / "no_float64.py", 1, tmp_path / "found")
    found, expected = json.loads((tmp_path / "found").read_text()), measured(ONE_PROCESS)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        rounded = name == "logistic"  # sums of gradients on the device
        assert found[name] == (pytest.approx(values, rel=1e-6) if rounded else values)
