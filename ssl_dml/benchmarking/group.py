"""Start a command in a process group of one, which acts as if it had several members.

``python -m ssl_dml.benchmarking.group COMMAND ARGUMENTS``. Every collective then meets the backend
of the device, NCCL on CUDA, with tensors and types as they would be on several. A process sends
nothing to itself, so the ring of tiles is left out.
"""

import os
import runpy
import socket

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_dml import distributed
from ssl_dml.backbones import norms
from ssl_dml.training import interrupt
from ssl_dml.types import ProcessGroup


def is_open() -> bool:
    """True once there is a process group, of however many."""
    return dist.is_available() and dist.is_initialized()


def ring_of_one(_: ProcessGroup, *blocks: Tensor) -> tuple[Tensor, ...]:
    """What comes round where nobody else is: the blocks themselves."""
    return blocks


def main() -> None:
    """Say who this process is, as a launcher does, and run the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in (alone | where).items()}
    for module in (distributed, norms, interrupt):
        module.is_distributed = is_open  # pyright: ignore[reportAttributeAccessIssue]
    distributed._DistributedGroup.ring_shift = ring_of_one  # pyright: ignore[reportAttributeAccessIssue]
    if not torch.accelerator.is_available():  # where there is one, accelerate opens the group
        dist.init_process_group("gloo")
    runpy.run_module("ssl_dml", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
