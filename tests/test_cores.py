import os
import platform
import subprocess
import sys

import pytest

from ssl_dml import cores as module
from ssl_dml.cores import cores, own_cores


@pytest.mark.parametrize(
    ("text", "most"), [("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("odd", 8)]
)
def test_a_container_may_have_fewer_cores_than_its_machine(tmp_path, monkeypatch, text, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(module, "QUOTA", tmp_path / "cpu.max")
    assert cores() == 8
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert cores() == most


def test_processes_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 5)
    for processes, each in [("1", 5), ("2", 2), ("8", 1)]:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert own_cores() == each


STEPS = """
import resource, sys
import torch
from ssl_dml.cores import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
def step():
    values = torch.ones(1 << 21)
    return (values + 1) * (values + 2)
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept, **settings):
    """New pages that 20 equal steps ask the system for, in a process of its own."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", STEPS, kept]
    found = subprocess.run(command, env=mine | settings, capture_output=True, text=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no such setting")
def test_memory_is_kept_from_step_to_step():
    assert faults("keep") < faults("leave") / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library has no such setting")
@pytest.mark.slow
def test_a_setting_of_the_user_stays():
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072") > faults("keep") * 10
