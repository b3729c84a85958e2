"""Launchers of several machines, each a launcher of this one that talks over the loopback."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CONFIGS = Path(__file__).parents[2] / "configs" / "accelerate"

# What Slurm's commands do with two machines of one processor each.
SCONTROL = "#!/bin/bash\nprintf '127.0.0.1\\n127.0.0.1\\n'\n"
SRUN = """#!/bin/bash
shift  # --kill-on-bad-exit=1
SLURM_NODEID=0 "$@" & first=$!
SLURM_NODEID=1 "$@" & second=$!
wait $first; a=$?
wait $second; b=$?
exit $((a + b))
"""


@pytest.mark.slow
def test_two_machines_of_slurm(tmp_path):
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    rng, images = np.random.default_rng(0), tmp_path / "images"
    images.mkdir()
    for number in range(24):
        Image.fromarray(rng.integers(0, 255, (12, 12), np.uint8)).save(images / f"{number}.png")
    slurm = {"JOB_NODELIST": "n[1-2]", "JOB_ID": str(os.getpid()), "NNODES": "2"}
    slurm = {f"SLURM_{name}": value for name, value in {**slurm, "GPUS_ON_NODE": "1"}.items()}
    path = f"{tmp_path}:{os.environ['PATH']}"
    run = tmp_path / "run"
    command = [CONFIGS / "slurm.sh", "pretrain", "--data.source", images, "--output_dir", run]
    done = subprocess.run(
        [*command, "--data.batch_size", "8", "--train.steps", "2"],
        env={**os.environ, **slurm, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    assert (run / "backbone").is_dir()
    assert "Warning" not in done.stderr
