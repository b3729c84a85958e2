import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launching import SHARED

from ssl_dml import heads, losses, margins, methods, mining
from ssl_dml.benchmarking import Setting, numerics
from ssl_dml.benchmarking.setting import FailedError
from ssl_dml.heads import Head
from ssl_dml.types import StepOutput


@pytest.fixture
def setting(tmp_path):
    return Setting(device=torch.device("cpu"), small=True, folder=tmp_path, command=["false"])


def test_everything_that_is_offered_is_checked():
    names = numerics.every_head()
    kinds = {"loss": (losses, losses.PairLoss), "miner": (mining, mining.Miner)}
    kinds["margin"] = (margins, margins.Margin)
    for word, (package, contract) in kinds.items():
        for name in package.__all__:
            part = getattr(package, name)
            if isinstance(part, type) and issubclass(part, contract) and part is not contract:
                assert f"{word} {name}" in names
    assert {"CenterLoss", "ProxyNCA", "ProxyAnchor", "SoftTriple"} <= names.keys()
    assert len(numerics.every_method()) == 10
    assert all(hasattr(methods, name.split()[0]) for name in numerics.every_method())
    assert issubclass(heads.SoftTriple, Head)


class Drifting(Head):
    """A head whose value is another each time it is copied and called."""

    calls = 0

    def __init__(self, step):
        super().__init__(3, 2)
        self.step = step

    def forward(self, embeddings, labels):  # noqa: ARG002
        Drifting.calls += 1
        return StepOutput((1 + self.step * Drifting.calls) * embeddings.square().sum(), {})


@pytest.mark.parametrize(("step", "passes"), [(1e-6, True), (1e-2, False)])
def test_a_value_of_the_device_that_is_another_fails(monkeypatch, setting, step, passes):
    monkeypatch.setattr(numerics, "every_head", lambda: {"drifting": Drifting(step)})
    Drifting.calls, found = 0, {}
    if passes:
        numerics.check_losses(setting, found)
        assert 0 < found["largest difference"] < 1e-5
    else:
        with pytest.raises(FailedError, match=r"value or gradient beyond 0\.0002: drifting"):
            numerics.check_losses(setting, found)


def test_float32_is_left_as_it_was():
    torch.set_float32_matmul_precision("high")
    try:
        with numerics.plain_float32():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)
def test_a_pretend_device_passes_what_needs_no_cuda():
    command = [sys.executable, Path(__file__).parent / "on_pretend.py"]
    environment = {**os.environ, "PYTHONPATH": SHARED}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line[1:2].isdigit()] == [
        ["1", "pass"], ["2", "pass"], ["9", "pass"],
    ]  # fmt: skip
