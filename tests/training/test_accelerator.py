from pathlib import Path

import pytest
import torch
from launching import Command

from ssl_dml.cores import cores
from ssl_dml.training.accelerator import choose_precision, make_accelerator, use_processor
from ssl_dml.training.loop import TrainConfig


@pytest.mark.parametrize("wanted", ["no", "bf16", "fp16"])
def test_a_given_precision_is_taken(wanted):
    assert choose_precision(wanted) == wanted


def test_auto_takes_the_launchers_choice(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert choose_precision("auto") == "fp16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about processors")
@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bf16_where_it_is_native(monkeypatch, native):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    assert choose_precision("auto") == ("bf16" if native else "no")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_on_a_gpu():
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    assert choose_precision("auto") == ("bf16" if native else "no")


def test_processes_share_the_cores(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(cores()))
    use_processor(None)
    assert torch.get_num_threads() == 1
    use_processor(2)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_runs_of_one_process_have_their_own_precision():
    for precision in ("no", "bf16", "no"):
        found = make_accelerator(TrainConfig(steps=1, precision=precision), seed=0)
        assert found.mixed_precision == precision


@pytest.mark.slow
def test_a_process_waits_as_long_as_is_said():
    script = Path(__file__).parents[1] / "distributed/waiting.py"
    command = Command(script, processes=2)
    out, errors = command.communicate(timeout=120)
    assert "gave up after" in out, errors


def test_what_an_accelerator_may_try_is_chosen_by_deterministic():
    before = torch.are_deterministic_algorithms_enabled()
    for deterministic in (True, False):
        make_accelerator(TrainConfig(steps=1, deterministic=deterministic), seed=0)
        assert torch.backends.cudnn.benchmark is not deterministic
    torch.use_deterministic_algorithms(before)
