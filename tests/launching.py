"""Scripts as a user starts them, and what they leave.

Their processes are forked from one that has imported what a run needs, so that a test of a real
process, its exit code, its signals and its death does not wait for imports.
"""

import atexit
import functools
import hashlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
SHARED = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))  # the package, and what tests share
CONTEXT = multiprocessing.get_context("forkserver")
COMMANDS = ("pretrain", "finetune", "evaluate", "benchmark", "search")
PRELOADED = [*(f"ssl_dml.commands.{name}" for name in COMMANDS), "tensorboard.summary.writer"]
PLAIN = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": ""}


class Command:
    """A Python script and its arguments on one process, or on several that form a group.

    Each process leads a session of its own, as one that a shell starts in the background.
    """

    def __init__(self, script, *arguments, processes=0, env=None):
        _start_server()
        folder = Path(tempfile.mkdtemp())
        self._files = folder / "out", folder / "err"
        environment = {**os.environ, **PLAIN, **(env or {})}
        self._processes = []
        for rank in range(max(1, processes)):
            group = _group_environment(rank, processes, folder) if processes else {}
            given = (str(script), [str(a) for a in arguments], environment | group, *self._files)
            self._processes.append(CONTEXT.Process(target=_enter, args=given))
        for process in self._processes:
            process.start()
        self.pid = self._processes[0].pid

    @property
    def printed(self):
        """What it has written to standard output so far."""
        return self._files[0].read_text() if self._files[0].exists() else ""

    def poll(self):
        """Exit code of the first process that failed; None while one runs."""
        codes = [process.exitcode for process in self._processes]
        return next((code for code in codes if code), None if None in codes else 0)

    def kill(self):
        """End each process and what it started at once."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number):
        """Send a signal to each process and what it started."""
        for process in self._processes:
            if process.exitcode is None:
                os.killpg(process.pid, number)

    def communicate(self, timeout=300):
        """Wait for the end; what was written to standard output and error."""
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        code = self.poll()
        if code != 0:
            self.kill()  # the others wait for one that failed
        for process in self._processes:
            process.join()
        self.returncode = code if code is not None else -signal.SIGKILL
        return tuple(path.read_text(errors="surrogateescape") for path in self._files)


@functools.cache
def _start_server():
    """Start the process that all others are forked from."""
    before = dict(os.environ)
    os.environ.update(PLAIN, PYTHONPATH=SHARED, HOME=tempfile.mkdtemp())
    CONTEXT.set_forkserver_preload(PRELOADED)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _group_environment(rank, processes, folder):
    """What a launcher tells its workers; the first one chooses a free port."""
    port = folder / "port"
    if not port.exists():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port.write_text(str(free.getsockname()[1]))
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port.read_text()}
    return {key: str(value) for key, value in (own | where).items()}


def _enter(script, arguments, environment, out, err):
    """In the forked process: become the script."""
    os.setsid()
    # What this one starts is forked, as in a process of a shell, and does not import all anew.
    multiprocessing.set_start_method("fork", force=True)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate((out, err), 1):
        written = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(written, number)
        os.close(written)
    sys.argv = [script, *arguments]
    searched = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(script).parent), *filter(None, searched)]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def start(script, *arguments, processes=0, env=None):
    """A script by itself, or on several processes."""
    return Command(ROOT / "scripts" / f"{script}.py", *arguments, processes=processes, env=env)


def completed(script, *arguments, env=None):
    """What a script that was left alone wrote, and its exit code."""
    command = Command(script, *arguments, env=env)
    out, err = command.communicate()
    return subprocess.CompletedProcess(script, command.returncode, out, err)


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def run(script, *arguments, processes=0):
    code, out, err = finish(start(script, *arguments, processes=processes))
    assert code == 0, err
    return out


def wait_for(path, process, seconds=120):
    for _ in range(seconds * 50):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def digest(folder, step=60):
    """Of everything a run ends with: weights, bank, Z, optimizer, generators and metrics."""
    found = hashlib.sha256((folder / "backbone/model.safetensors").read_bytes())
    state = torch.load(folder / f"checkpoints/step_{step}/state.pt", weights_only=True)
    for path in sorted(folder.glob(f"checkpoints/step_{step}/rows_*.pt")):
        split = torch.load(path, weights_only=True)
        state["model"] |= {f"{path.name} {name}": value for name, value in split.items()}
    for name, value in sorted(state["model"].items()):
        found.update(name.encode() + value.numpy().tobytes())
    for number, buffers in sorted(state["optimizer"]["state"].items()):
        for key, value in sorted(buffers.items()):
            found.update(f"{number} {key}".encode() + value.numpy().tobytes())
    for row in rows(folder):
        same = {k: v for k, v in row.items() if k not in ("wall_s", "train/samples_per_s")}
        found.update(json.dumps(same, sort_keys=True).encode())
    return found.hexdigest()


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
