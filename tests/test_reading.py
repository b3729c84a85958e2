"""What is read may be anything; what is told of it is one line."""

import os
import socket
from pathlib import Path

import pytest

from ssl_dml.reading import (
    PACKAGE,
    parse_json,
    raised_here,
    read_bytes,
    read_json,
    read_text,
    reading,
    regular,
)
from ssl_dml.types import ConfigError


def odd_files(folder):
    """A pipe, a socket, a folder and a device, the last behind two links."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(folder)  # names of sockets are short
        one.bind("socket")
        os.chdir(here)
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/dev/zero")
    (folder / "device").symlink_to(folder / "link")
    return ["pipe", "socket", "folder", "device"]


@pytest.mark.parametrize("read", [regular, read_bytes, read_text, read_json])
def test_only_files_are_read(tmp_path, read):
    for name in odd_files(tmp_path):
        with pytest.raises(ValueError, match=rf"^is a {name}, and no file$"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


def test_no_more_is_read_than_is_wanted(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ValueError, match=r"^has 5 bytes; at most 4 are read$"):
        read_bytes(tmp_path / "a", 4)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="at most"):
        read_bytes(tmp_path / "sparse")
    # A file whose system says that it has no bytes.
    assert b"Name:" in read_bytes(Path("/proc/self/status"))
    with pytest.raises(ValueError, match="at most 3 are read"):
        read_bytes(Path("/proc/self/status"), 3)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, b"\xff", "9" * 5000])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"^is no JSON: "):
        parse_json(text)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (EOFError("a\nb"), "x cannot be read: a b; mend it"),
        (IsADirectoryError(21, "Is a directory", "y"), "x cannot be read: Is a directory; mend it"),
        (ValueError("is empty"), "x is empty; mend it"),
        (MemoryError("3 GB"), "x needs more memory than there is: 3 GB; mend it"),
        (ConfigError("told already"), "told already"),
    ],
)
def test_what_others_raise_is_told_with_what_was_read(error, line):
    with pytest.raises(ConfigError) as told, reading("x", "mend it"):
        raise error
    assert str(told.value) == line


def test_a_mistake_of_this_package_keeps_its_traceback():
    ours = compile("None.text", str(PACKAGE / "somewhere.py"), "eval")
    with pytest.raises(AttributeError) as bug, reading("x"):
        eval(ours)
    assert raised_here(bug.value)
    with pytest.raises(ConfigError, match="x cannot be read"), reading("x", foreign=False):
        eval(ours)
    with pytest.raises(ConfigError, match="x cannot be read"), reading("x"):
        eval(compile("None.text", "library.py", "eval"))
