import torch
import torch.distributed as dist

from ssl_dml.benchmarking import group
from ssl_dml.types import SINGLE_PROCESS


def test_a_group_of_one_counts_as_open(tmp_path):
    assert not group.is_open()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert group.is_open()
    finally:
        dist.destroy_process_group()


def test_a_ring_of_one_gives_back_what_it_was_given():
    blocks = torch.arange(3), torch.eye(2)
    assert group.ring_of_one(SINGLE_PROCESS, *blocks) == blocks
