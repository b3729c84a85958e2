"""The lock of a run folder, taken by real processes."""

import errno
import fcntl
import os
import platform
import signal
import time

import pytest
from launching import Command

from ssl_dml.training.run_lock import LOCK, RunLock
from ssl_dml.types import ConfigError

BEGIN = """
import os, sys, time
from pathlib import Path
from ssl_dml.types import ConfigError
from ssl_dml.training.run_lock import RunLock
folder = Path(sys.argv[1])
"""
KEEP = """
lock = RunLock(folder)
print("taken", flush=True)
time.sleep(600)
"""
FORK = """
lock = RunLock(folder)
if (child := os.fork()) == 0:
    time.sleep(600)
print(child, flush=True)
time.sleep(600)
"""
# Whoever has the lock is alone where it makes a folder that must not be there yet.
IN_TURN = """
first, others = os.getpid(), []
for _ in range(2):
    if os.getpid() == first:
        others.append(os.fork())
taken, end = 0, time.monotonic() + 4
while time.monotonic() < end:
    try:
        lock = RunLock(folder)
    except ConfigError:
        continue
    (folder.parent / "here").mkdir()
    (folder.parent / "here").rmdir()
    lock.release()
    taken += 1
if os.getpid() != first:
    os._exit(taken < 10)
states = [os.waitpid(child, 0)[1] for child in others]
sys.exit(taken < 10 or any(states))
"""


@pytest.fixture
def start(tmp_path_factory):
    """Start Python code on a folder; what still runs is killed in the end."""
    started = []

    def run(code, folder):
        program = tmp_path_factory.mktemp("code") / "program.py"
        program.write_text(BEGIN + code)
        started.append(Command(program, folder))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def first_line(process):
    while not process.printed.endswith("\n"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return process.printed


def end(process):
    """Kill it alone, not what it has started."""
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_another_process_is_named_until_it_is_killed(start, tmp_path):
    folder = tmp_path / "runs" / "x"
    other = start(KEEP, folder)
    assert first_line(other) == "taken\n"
    written = (folder / LOCK).read_bytes()
    words = (
        rf"^output_dir '{folder}' is in use by process {other.pid} on host {platform.node()}; "
        r"wait for it, or name another with --output_dir$"
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match=words):
            RunLock(folder)
    assert (folder / LOCK).read_bytes() == written
    end(other)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    lock = RunLock(folder)
    assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on host ")
    lock.release()


def test_release_leaves_nothing_that_was_not_there(tmp_path):
    RunLock(tmp_path / "runs" / "x").release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    RunLock(tmp_path / "mine").release()
    assert list((tmp_path / "mine").iterdir()) == []
    lock = RunLock(tmp_path / "runs" / "y")
    (tmp_path / "runs/y/config.yaml").touch()
    lock.release()
    assert [path.name for path in (tmp_path / "runs/y").iterdir()] == ["config.yaml"]


def test_a_forked_worker_does_not_keep_the_lock(start, tmp_path):
    other = start(FORK, tmp_path)
    worker = int(first_line(other))
    try:
        with pytest.raises(ConfigError, match=f"process {other.pid} "):
            RunLock(tmp_path)
        end(other)
        os.kill(worker, 0)  # it still runs
        RunLock(tmp_path).release()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_processes_that_take_and_release_in_turn_are_never_inside_at_once(start, tmp_path):
    process = start(IN_TURN, tmp_path / "x")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert LOCK not in {path.name for path in tmp_path.rglob("*")}


def test_what_is_no_folder_is_not_taken(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            RunLock(tmp_path / name)


def test_a_file_system_that_refuses_locks_is_said_and_used(tmp_path, monkeypatch, capsys):
    """There is none to be had everywhere, so its answer is put in the place of the call."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = RunLock(tmp_path / "x")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: output_dir '{tmp_path / 'x'}' is on a file system that ")
    assert "No locks available" in line
    lock.release()
    assert not (tmp_path / "x").exists()
