"""Worker of test_on_device: a script of the toolkit on a pretend accelerator.

Usage: on_device.py STORE SCRIPT ARGUMENTS, with RANK and WORLD_SIZE in the environment.
"""

import runpy
import sys

import pretend
import pytest
import torch
import torch.distributed as dist
from launching import ROOT


def main(store, script, *arguments):
    """Run the script's main on this process of the device's process group."""
    torch.set_num_threads(1)
    pretend.install()
    pretend.join(store)
    with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
        dist.all_reduce(torch.ones(1))
    path = ROOT / "scripts" / f"{script}.py"
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
