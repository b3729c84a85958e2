"""Worker of test_on_device: a script of the toolkit on a pretend accelerator.

Usage: on_device.py STORE SCRIPT ARGUMENTS, with RANK and WORLD_SIZE in the environment; one process
has a device without float64, as MPS is.
"""

import os
import runpy
import sys

import pretend
import pytest
import torch
import torch.distributed as dist
from launching import ROOT


def main(store, script, *arguments):
    """Run the script's main on the device, by itself or in the device's process group."""
    torch.set_num_threads(1)
    several = os.environ["WORLD_SIZE"] != "1"
    pretend.install(float64=several)
    if several:
        pretend.join(store)
        with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
            dist.all_reduce(torch.ones(1))
    else:
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            del os.environ[name]  # nobody else is there
        pretend.alone()
    path = ROOT / "scripts" / f"{script}.py"
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
