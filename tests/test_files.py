import errno
import json
import os

import pytest

from ssl_dml.files import as_json, synchronize, write_json, write_text


def test_a_file_is_written_whole_beside_nothing(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None], "name": "고양이"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {
        "x": [1, None],
        "name": "고양이",
    }
    write_text(tmp_path / "a.json", "a\nb\n")
    assert (tmp_path / "a.json").read_bytes() == b"a\nb\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "before")

    def full(_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_text(tmp_path / "a.txt", "after")
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize(
    ("code", "raises"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_only_a_disk_that_fails_raises(tmp_path, monkeypatch, code, raises):
    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    if raises:
        with pytest.raises(OSError, match="error"):
            synchronize(tmp_path)
    else:
        synchronize(tmp_path)


def test_json_has_null_where_a_number_is_none(tmp_path):
    values = {"a": float("nan"), "b": [1.5, float("inf"), (2, float("-inf"))], "c": {"d": "NaN"}}
    write_json(tmp_path / "a.json", values)
    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert read == {"a": None, "b": [1.5, None, [2, None]], "c": {"d": "NaN"}}
    assert as_json({"a": 1.0}) == json.dumps({"a": 1.0})
