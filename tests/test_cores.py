import os

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
