import pytest
import torch

from ssl_dml.benchmarking import Setting, runs
from ssl_dml.benchmarking.setting import FailedError
from ssl_dml.config import shipped


@pytest.fixture
def setting(tmp_path):
    return Setting(device=torch.device("cpu"), small=True, folder=tmp_path, command=["false"])


def test_the_recipes_are_shipped():
    assert set(runs.RECIPES) <= set(shipped("pretrain"))
    for command, config, *_ in runs.GROUPS.values():
        assert config.removeprefix("--config=") in shipped(command)


def write_run(folder, losses):
    folder.mkdir()
    rows = [f'{{"step": {step}, "train/loss": {loss}}}' for step, loss in enumerate(losses)]
    (folder / "metrics.jsonl").write_text("\n".join(rows))


@pytest.mark.parametrize(("end", "passes"), [(2.05, True), (2.5, False), ("NaN", False)])
def test_a_loss_that_is_not_that_of_float32_fails(setting, end, passes):
    """The command does nothing; the runs are as it would leave them."""
    setting = Setting(device=setting.device, small=True, folder=setting.folder, command=["true"])
    for recipe in runs.RECIPES:
        write_run(setting.folder / f"{recipe}_no", [3.0, 2.0])
        write_run(setting.folder / f"{recipe}_bf16", [3.0, end if recipe == "npid" else 2.0])
    found = {}
    if passes:
        runs.check_precisions(setting, found)
        assert found["npid, bf16"] == 2.05
    else:
        with pytest.raises(FailedError, match="npid in bf16"):
            runs.check_precisions(setting, found)


def test_a_command_that_fails_is_a_failure(setting):
    for check in (runs.check_precisions, runs.check_resume, runs.check_quick_start):
        with pytest.raises(FailedError, match="pretrain: exit code 1"):
            check(setting, {})
