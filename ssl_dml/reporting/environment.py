"""On what a run was made: versions and machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch

ENVIRONMENT = "environment.json"
PACKAGES = ("ssl_dml", "torch", "torchvision", "timm", "accelerate", "kornia", "numpy", "faiss-cpu")


def environment(*, processes: int = 1) -> dict[str, Any]:
    """Versions of what computes, and the machine, as plain values.

    >>> environment()["processes"]
    1
    """
    own = os.uname()  # platform.platform() starts a process
    system = f"{own.sysname} {own.release}"
    found = {"python": platform.python_version(), "system": system}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    device = torch.accelerator.current_accelerator(check_available=True)
    kind = "CPU" if device is None else device.type
    name = torch.cuda.get_device_name() if kind == "cuda" else own.machine
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    machine = {"device": f"{kind} {name}".strip(), "memory": memory, "processes": processes}
    return {**found, **machine, "cores": psutil.cpu_count()}
