"""Scripts as a user starts them, and what they leave."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
SEVERAL = [
    "--multi_gpu",
    "--num_machines",
    "1",
    "--mixed_precision",
    "no",
    "--dynamo_backend",
    "no",
]


def start(script, *arguments, processes=0):
    """A script by itself, or by accelerate on several processes."""
    command = [sys.executable]
    if processes:
        module = ["-m", "accelerate.commands.accelerate_cli", "launch"]
        command += [*module, *SEVERAL, "--num_processes", str(processes)]
    return subprocess.Popen(
        [*command, str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        start_new_session=True,
    )


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


def kill_workers(folder):
    """The launcher starts workers in groups of their own; end those of this run."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command and int(entry.name) != os.getpid():
            os.kill(int(entry.name), signal.SIGKILL)
