"""Files of a checkpoint: read without executing, written whole, digested."""

import hashlib

import pytest
import torch

from ssl_dml.reading import digest
from ssl_dml.training.files import read, write


def test_what_is_written_is_read(tmp_path):
    state = {"a": torch.arange(5), "b": {"c": 1.5}}
    write(tmp_path / "state.pt", state)
    found = read(tmp_path / "state.pt", mmap=True)
    assert torch.equal(found["a"], state["a"])
    assert found["b"] == state["b"]


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save(Planted(tmp_path / "planted"), tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt cannot be read as a checkpoint"):
        read(tmp_path / "state.pt")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02."])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"state\.pt cannot be read as a checkpoint"):
        read(tmp_path / "state.pt")


def test_a_full_disk_says_so():
    with pytest.raises(OSError, match="no space left for a checkpoint"):
        write(__import__("pathlib").Path("/dev/full"), {"a": torch.zeros(10)})


def test_the_digest_is_sha_256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
