from pathlib import Path

import pytest
import torch

from ssl_dml import distributed

WORKER = Path(__file__).parent / "distributed" / "collectives.py"


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_collectives_of_several_processes(world, tmp_path, run_workers):
    run_workers(WORKER, world, tmp_path / "store")


def test_alone_each_is_the_identity():
    rows = torch.randn(2, 3, requires_grad=True)
    assert torch.equal(distributed.gather(rows), rows)
    assert distributed.gather_with_gradient(rows) is rows
    assert distributed.sum_with_gradient(rows) is rows
    asked = distributed.rows_of_owners(rows.detach(), torch.tensor([1, 0, 1]), rows_per_rank=2)
    assert torch.equal(asked, rows[[1, 0, 1]])
    assert torch.equal(distributed.all_reduce_mean(rows), rows)
    assert distributed.any_rank(True, torch.device("cpu"))
    assert distributed.broadcast_object(5) == 5
    assert distributed.gather_object(5) == [5]
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
