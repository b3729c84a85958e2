"""Files of weights are read as tensors, and nothing in them runs."""

import os

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


def test_a_tensor_of_one_number_that_claims_terabytes_is_refused(tmp_path):
    torch.save({"a": {"b": torch.zeros(1).expand(10**12)}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"unfold to 4,000\.0 GB"):
        read_file(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "odd", [torch.eye(2).to_sparse(), torch.zeros(2, device="meta")], ids=["sparse", "meta"]
)
def test_tensors_without_plain_numbers_are_refused(tmp_path, odd):
    torch.save({"state_dict": {"x": odd}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="x is not a dense tensor"):
        read_file(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", ["pt", "npz", "safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match="is a pipe, and no file"):
        read_file(tmp_path / f"a.{suffix}")


def test_an_archive_that_unpacks_to_more_than_is_free_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**6, np.float32))
    free = type("Free", (), {"available": 10**6})
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(ValueError, match="unpacks to"):
        read_file(tmp_path / "a.npz")
