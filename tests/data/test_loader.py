import signal
import subprocess

import numpy as np
import psutil
import pytest
import torch
from launching import Command
from PIL import Image

from ssl_dml.data import DataConfig, load_train, make_loader


@pytest.fixture
def config(tmp_path):
    """Eight images that workers decode on demand."""
    (tmp_path / "in").mkdir()
    for i in range(8):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"in/{i}.png")
    own = {"source": str(tmp_path / "in"), "cache_dir": tmp_path / "cache"}
    return {**own, "memory_fraction": 0.0, "disk_fraction": 0.0}


def workers_of(loader):
    before = {child.pid for child in psutil.Process().children()}
    batches = iter(loader)
    return batches, [one for one in psutil.Process().children() if one.pid not in before]


@pytest.mark.parametrize("begun", [False, True])
def test_workers_leave_signals_to_the_run(config, begun):
    order = [torch.tensor([i % 8]) for i in range(40)]
    batches, workers = workers_of(make_loader(load_train(DataConfig(**config)), order, workers=2))
    seen = [next(batches)] if begun else []
    for name in ("TERM", "HUP", "INT") * 2:  # from another process
        subprocess.run(["kill", f"-{name}", *(str(one.pid) for one in workers)], check=True)
    assert len([*seen, *batches]) == 40
    assert len(workers) == 2


SCRIPT = """
import builtins
from pathlib import PosixPath
import torch
from ssl_dml.data import DataConfig, load_train, make_loader

train = load_train(DataConfig(**{config!r}))
builtins.held = iter(make_loader(train, [torch.tensor([0])] * 40, workers=2))
next(builtins.held)
raise SystemExit(3)
"""


def test_a_run_ends_its_workers_also_where_something_still_holds_them(config, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(config=config))
    command = Command(script)
    errors = command.communicate(timeout=60)[1]
    assert command.returncode == 3, errors


def test_the_process_itself_still_heeds_signals(config):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    list(make_loader(load_train(DataConfig(**config)), [torch.tensor([0])], workers=1))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
