"""Read files of weights; nothing in them is executed."""

import pickle
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors.torch import load_file

from ssl_dml.reading import regular, unpackable
from ssl_dml.types import one_line

DEEPEST = 8  # sections within sections
# What checkpoints keep beside tensors and cannot do harm: a command line, a number of NumPy.
HARMLESS = [Namespace, np.dtype, np.float64(0).__reduce__()[0]]
HARMLESS += [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
# How a file begins that is no file of weights.
OTHERS = {
    b"version https://git-lfs": "it is a pointer of git-lfs; get the file itself by git lfs pull",
    b"<!DOCTYPE": "it is a web page; download the file that the page links",
    b"<html": "it is a web page; download the file that the page links",
}


def read_file(path: Path) -> Mapping[Any, Any]:
    """Read the tensors of a file by name, in the sections that it has.

    Args:
        path: ``.safetensors``, ``.npz``, or what ``torch.save`` wrote of tensors and plain values.

    Raises:
        ValueError: If there is no such file, or it holds no tensors by name.
    """
    if not path.exists():
        raise ValueError("there is no such file")
    with regular(path).open("rb") as file:
        head = file.read(32)
    for beginning, words in OTHERS.items():
        if head.lower().startswith(beginning.lower()):
            raise ValueError(words)
    try:
        content: Any = _read(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "it holds more than tensors; save the state_dict() of its network as .safetensors"
        ) from error
    except Exception as error:  # torch raises many types on foreign files
        raise ValueError(f"it cannot be read: {one_line(error)}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds a {type(content).__name__}, and no tensors by name")
    _refuse_odd(content)
    return content


def _refuse_odd(content: Mapping[Any, Any]) -> None:
    """Raise of tensors that are not plain numbers in memory, or that unfold to more than fits.

    Raises:
        ValueError: Naming one.
    """
    size, inside = 0, [content]
    for _ in range(DEEPEST):
        for name, value in ((n, v) for one in inside for n, v in one.items() if torch.is_tensor(v)):
            if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
                raise ValueError(f"{name} is not a dense tensor of numbers; save it as one")
            size += value.numel() * value.element_size()
        inside = [v for one in inside for v in one.values() if isinstance(v, Mapping)]
    if size > (free := psutil.virtual_memory().available):
        raise ValueError(
            f"its tensors unfold to {size / 1e9:,.1f} GB, and {free / 1e9:,.1f} are free"
        )


def _read(path: Path) -> Any:  # noqa: ANN401
    with path.open("rb") as file:
        head = file.read(9)
    if path.suffix == ".safetensors" or head[8:] == b"{":  # after the length of its header
        return load_file(path)
    if _is_arrays(path) or path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
    with torch.serialization.safe_globals(HARMLESS):
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_arrays(path: Path) -> bool:
    """Whether it is an archive of NumPy's, whatever its suffix.

    Raises:
        MemoryError: If an archive, of arrays or of tensors, unpacks to more than is free.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in unpackable(archive))
