"""Random generators that training may draw from."""

import random
from typing import Any, cast

import numpy as np
import torch


def rng_state() -> dict[str, Any]:
    """State of every random generator of this process that training may draw from."""
    name, keys, *rest = cast(Any, np.random.get_state())  # noqa: NPY002 - libraries draw from it
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
    }
    if (device := torch.accelerator.current_accelerator(check_available=True)) is not None:
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def restore(state: dict[str, Any]) -> None:
    """Put this process's generators back to a state of :func:`rng_state`."""
    torch.set_rng_state(state["torch"])
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    name, words, *rest = state["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is not None and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type])
