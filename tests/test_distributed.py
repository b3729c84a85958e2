import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_dml import distributed

WORKER = Path(__file__).parent / "distributed" / "collectives.py"


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_collectives_of_several_processes(world, tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(tmp_path / "store")],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert not any(worker.returncode for worker in workers), "\n".join(errors)


def test_alone_each_is_the_identity():
    rows = torch.randn(2, 3, requires_grad=True)
    assert torch.equal(distributed.gather(rows), rows)
    assert distributed.gather_with_gradient(rows) is rows
    assert distributed.sum_with_gradient(rows) is rows
    assert torch.equal(distributed.mean(rows), rows)
    assert distributed.any_rank(True, torch.device("cpu"))
    assert distributed.share(5) == 5
    assert distributed.gather_object(5) == [5]
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
