"""A process that waits for another that does not come."""

import os
import time

import torch

from ssl_dml.distributed import all_reduce_mean, rank
from ssl_dml.training.accelerator import make_accelerator
from ssl_dml.training.loop import TrainConfig


def main():
    """Give up on the other process, as is said, and not before."""
    make_accelerator(TrainConfig(steps=1, timeout_minutes=0.05), seed=0)
    all_reduce_mean(torch.ones(1))
    if rank() == 1:
        time.sleep(30)
        os._exit(1)  # the other should have given up
    began = time.monotonic()
    try:
        all_reduce_mean(torch.ones(1))
    except RuntimeError:
        took = time.monotonic() - began
        print(f"gave up after {took:.1f} s", flush=True)
        os._exit(0 if 2 < took < 20 else 1)
    os._exit(1)


if __name__ == "__main__":
    main()
