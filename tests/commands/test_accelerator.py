import json

import pytest
import torch

from ssl_dml.benchmarking import CHECKS
from ssl_dml.benchmarking.running import Check
from ssl_dml.benchmarking.setting import FailedError
from ssl_dml.commands import accelerator
from ssl_dml.commands.accelerator import AcceleratorConfig, main
from ssl_dml.commands.benchmark import main as benchmark
from ssl_dml.types import ConfigError

here = pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@here
def test_outcomes_are_printed_and_written(tmp_path, capsys):
    output = tmp_path / "found.json"
    benchmark(["accelerator", "--small", "true", "--only", "9,4", "--output", str(output)])
    said = capsys.readouterr().out
    assert "no accelerator is here: the checks are rehearsed on the CPU, and nothing is" in said
    assert "1 pass, 0 FAIL, 1 not here" in said
    written = json.loads(output.read_text())
    assert (written["device"], written["small"]) == ("cpu", True)
    states = [(check["number"], check["state"]) for check in written["checks"]]
    assert states == [(4, "not here"), (9, "pass")]
    assert written["checks"][1]["found"]["largest difference of a gradient"] < 1e-4


@here
def test_a_check_that_fails_is_exit_code_1_and_the_next_one_runs(tmp_path, monkeypatch, capsys):
    def fails(*_):
        raise FailedError("wrong")

    made = {1: Check("one", fails), 2: Check("two", lambda *_: None)}
    monkeypatch.setattr(accelerator, "CHECKS", made)
    with pytest.raises(SystemExit) as error:
        main(["--small", "true", "--output", str(tmp_path / "found.json")])
    assert error.value.code == 1
    assert "1 pass, 1 FAIL, 0 not here" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())["checks"]
    assert [check["reason"] for check in found] == ["wrong", ""]


@here
def test_whole_sizes_need_an_accelerator():
    with pytest.raises(ConfigError, match=r"no accelerator to check: rehearse with --small true$"):
        main([])


@pytest.mark.parametrize("only", ["0", "11", "a", "1;2", ""])
def test_numbers_that_are_none_are_named(only):
    with pytest.raises(ConfigError, match=r"^--only must be numbers from 1 to 10, .* got"):
        _ = AcceleratorConfig(only=only).numbers


def test_all_are_run_by_default():
    assert AcceleratorConfig().numbers == list(CHECKS)
    assert AcceleratorConfig(only="7, 2").numbers == [2, 7]


@here
@pytest.mark.slow
def test_the_whole_rehearsal_passes(tmp_path):
    main(["--small", "true", "--output", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())["checks"]
    assert {check["number"]: check["state"] for check in found} == {
        number: "not here" if number in (4, 8) else "pass" for number in CHECKS
    }
