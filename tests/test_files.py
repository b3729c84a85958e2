import errno
import fcntl
import json
import os
import threading
import time

import pytest

from ssl_dml.files import (
    as_json,
    one_at_a_time,
    remove_leftovers,
    replacing,
    synchronize,
    write_json,
    write_text,
)


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


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_written_takes_the_place_of_the_former(tmp_path, folder):
    for number in range(2):
        with replacing(tmp_path / "a", folder=folder) as beside:
            (beside / "x" if folder else beside).write_text(str(number))
            remove_leftovers(tmp_path)  # it is locked
            assert (tmp_path / "a").exists() == bool(number)
    assert (tmp_path / "a/x" if folder else tmp_path / "a").read_text() == "1"
    with pytest.raises(KeyError), replacing(tmp_path / "a", folder=folder):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_leftovers_are_removed_and_what_only_looks_alike_stays(tmp_path):
    (tmp_path / "a.0123abcd.part").mkdir()
    (tmp_path / "a.0123abcd.part/x").touch()
    (tmp_path / "b.0123abcd.part").touch()
    (tmp_path / "film.part").touch()
    os.mkfifo(tmp_path / "c.0123abcd.part")
    (tmp_path / "d.0123abcd.part").symlink_to(tmp_path / "film.part")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"film.part", "d.0123abcd.part"}
    remove_leftovers(tmp_path / "nowhere")


def test_a_lock_is_waited_for_and_gone_afterwards(tmp_path):
    lock, order = tmp_path / "x.lock", []

    def second():
        with one_at_a_time(lock, lambda: order.append("told")):
            order.append("second")

    with one_at_a_time(lock, lambda: order.append("never")):
        other = threading.Thread(target=second)  # locks are of open files, not of processes
        other.start()
        while "told" not in order:
            time.sleep(0.01)
        time.sleep(0.1)
        order.append("first")
    other.join()
    assert order == ["told", "first", "second"]
    assert not lock.exists()


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "b.0123abcd.part").touch()
    write_text(tmp_path / "a", "x")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b.0123abcd.part"}
