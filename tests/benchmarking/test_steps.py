import pytest
import torch

from ssl_dml.benchmarking import Setting, steps
from ssl_dml.benchmarking.numerics import every_method
from ssl_dml.benchmarking.setting import NotHereError
from ssl_dml.training import TrainConfig, make_accelerator


def test_waits_are_told_on_cuda_alone(tmp_path):
    setting = Setting(device=torch.device("cpu"), small=True, folder=tmp_path, command=["false"])
    with pytest.raises(NotHereError, match="CUDA alone"):
        steps.check_waits(setting, {})


def test_a_steady_step_is_one_of_a_real_run():
    config = TrainConfig(steps=steps.STEPS, precision="no", log_every=10**6)
    accelerator = make_accelerator(config, seed=0)
    method = every_method()["SimCLR"]()
    before = [p.clone() for p in method.parameters()]
    run = steps._steady(method, 2, config, accelerator)
    assert next(run) == steps.STEADY + 1
    assert any(not torch.equal(p, q) for p, q in zip(before, method.parameters(), strict=True))
