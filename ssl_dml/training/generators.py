"""Random generators that training may draw from."""

import random
from typing import Any, cast

import numpy as np
import torch


def generator_state() -> dict[str, Any]:
    """State of every random generator of this process that training may draw from."""
    name, keys, *rest = cast(Any, np.random.get_state())  # noqa: NPY002 - libraries draw from it
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: dict[str, Any]) -> None:
    """Put this process's generators back to a state of :func:`generator_state`."""
    torch.set_rng_state(state["torch"])
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    name, words, *rest = state["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
