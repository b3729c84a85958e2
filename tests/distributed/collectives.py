"""Worker of test_distributed: every collective on this process, against what it must give."""

import os
import sys

import torch
import torch.distributed as dist

from ssl_dml import distributed


def main(store: str) -> None:
    """Assert on every rank; the parent reads the exit code."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    assert (distributed.rank(), distributed.world_size()) == (rank, world)
    assert distributed.is_distributed()

    rows = torch.full((2, 3), float(rank), requires_grad=True)
    everyone = distributed.gather(rows)
    assert everyone[:, 0].tolist() == [float(r) for r in range(world) for _ in range(2)]
    assert not everyone.requires_grad

    # Every rank weights row j of the whole by (rank + 1) * (j + 1): the gradient sums over ranks.
    weights = torch.arange(1.0, 2 * world + 1)[:, None]
    ((rank + 1) * weights * distributed.gather_with_gradient(rows)).sum().backward()
    ranks = sum(range(1, world + 1))
    expected = ranks * weights[2 * rank : 2 * rank + 2].expand(2, 3)
    assert torch.equal(rows.grad, expected)

    value = torch.tensor(float(rank + 1), requires_grad=True)
    total = distributed.sum_with_gradient(value)
    assert total.item() == ranks
    ((rank + 1) * total).backward()
    assert value.grad.item() == ranks

    # A table of 4 * world - 1 rows of which the last rank owns 3; every rank asks something else.
    fraction, size = 4, 4 * world - 1
    own = torch.arange(fraction * rank, min(fraction * (rank + 1), size))
    table = (own[:, None] * torch.tensor([1, 10])).bfloat16()
    asked = torch.tensor([size - 1, 0, rank, 0, 4] if rank else [])
    found = distributed.rows_of_owners(table, asked.long(), rows_per_rank=fraction)
    assert torch.equal(found, (asked[:, None] * torch.tensor([1, 10])).bfloat16())

    assert distributed.all_reduce_mean(torch.tensor(float(rank))).item() == (world - 1) / 2
    assert distributed.any_rank(rank == world - 1, torch.device("cpu"))
    assert not distributed.any_rank(False, torch.device("cpu"))
    assert distributed.broadcast_object(f"from {rank}") == "from 0"
    assert distributed.gather_object({"rank": rank}) == [{"rank": r} for r in range(world)]
    dist.barrier()
    dist.destroy_process_group()  # gloo's threads must not outlive the interpreter


if __name__ == "__main__":
    main(sys.argv[1])
