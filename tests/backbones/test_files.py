"""Files of weights are read as tensors, and nothing in them runs."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssl_dml.backbones.files import read_file


def test_arrays_of_numpy_are_tensors_by_name(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.ones((2, 3), np.float32))
    assert torch.equal(read_file(tmp_path / "weights.npz")["a"], torch.ones(2, 3))
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="it cannot be read"):
        read_file(tmp_path / "objects.npz")


def test_numbers_of_numpy_beside_the_weights_are_read(tmp_path):
    content = {"state_dict": {"a": torch.ones(2)}, "best": np.float64(0.5), "epoch": np.int64(3)}
    torch.save(content, tmp_path / "weights.pth")
    assert read_file(tmp_path / "weights.pth")["best"] == 0.5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"<!doctype html><html>", "it is a web page; download the file"),
        (b"<html><head>", "it is a web page; download the file"),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors", "npz"])
def test_what_is_downloaded_by_mistake_is_named(tmp_path, content, words, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_file(path)


def test_the_kind_of_a_file_is_told_by_its_content(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "safe.bin")
    with (tmp_path / "arrays.pth").open("wb") as file:
        np.savez(file, a=np.ones(2, np.float32))
    for name in ("safe.bin", "arrays.pth"):
        assert torch.equal(read_file(tmp_path / name)["a"], torch.ones(2))
