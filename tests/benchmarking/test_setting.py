import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from ssl_dml.benchmarking.setting import FailedError, Setting, apart, at_most, rows_of


def setting_of(*command, at_once=1):
    return Setting(
        device=torch.device("cpu"), small=True, folder=Path(), command=command, at_once=at_once
    )


def test_a_command_is_run_and_one_that_fails_says_why():
    python = setting_of(sys.executable, "-c")
    assert python.run("import sys; print(sys.argv[1:])", "--steps=2", Path("x")) == (
        "['--steps=2', 'x']\n"
    )
    with pytest.raises(FailedError, match=r"(?s)exit code 3: .*no such run$"):
        python.run("import sys; print('no such run', file=sys.stderr); sys.exit(3)")


def test_jobs_beside_each_other_keep_their_order():
    together = setting_of("false", at_once=3)
    began = time.monotonic()
    jobs = [partial(lambda n: (time.sleep(0.3), n)[1], number) for number in range(3)]
    assert together.beside(jobs) == [0, 1, 2]
    assert time.monotonic() - began < 0.8


def test_a_step_is_timed_without_its_warm_up():
    calls = []

    def step():
        calls.append(time.sleep(0.2 if len(calls) < 2 else 0.01))

    assert 0.01 <= setting_of("false").seconds(step, 3) < 0.1
    assert len(calls) == 5


@pytest.mark.parametrize("value", [0.3, float("nan"), float("inf")])
def test_numbers_beyond_a_limit_fail(value):
    at_most(0.2, {"a": 0.2, "b": 0.0}, "loss")
    with pytest.raises(FailedError, match=r"^loss beyond 0\.2: b "):
        at_most(0.2, {"a": 0.1, "b": value}, "loss")


def test_a_value_that_is_none_is_apart():
    assert not apart(torch.tensor([float("nan")]), torch.tensor([1.0])) <= 1e9


def test_the_rows_of_a_run_are_those_it_logged(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 5, "train/loss": 0.5}\n')
    assert rows_of(tmp_path) == [{"step": 0}, {"step": 5, "train/loss": 0.5}]
