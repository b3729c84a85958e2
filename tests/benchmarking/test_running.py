import re

import pytest
import torch

from ssl_dml.benchmarking import Setting, run_checks
from ssl_dml.benchmarking.running import Check, shown
from ssl_dml.benchmarking.setting import FailedError, NotHereError, apart


@pytest.fixture
def setting(tmp_path):
    return Setting(device=torch.device("cpu"), small=True, folder=tmp_path, command=["false"])


def right(_, found):
    found["value"] = 0.5


def wrong(_, found):
    found["value"] = 2.0
    raise FailedError("value beyond 1")


def absent(*_):
    raise NotHereError("it needs another machine")


def broken(*_):
    apart(torch.empty(2, 3), torch.empty(2, 4))


def test_a_check_that_fails_does_not_end_the_others(setting):
    made = {number: Check(f.__name__, f) for number, f in enumerate((wrong, broken, absent, right))}
    outcomes = list(run_checks(made, setting))
    assert [o.state for o in outcomes] == ["FAIL", "FAIL", "not here", "pass"]
    assert [o.found for o in outcomes] == [{"value": 2.0}, {}, {}, {"value": 0.5}]
    assert outcomes[0].reason == "value beyond 1"
    assert outcomes[1].reason.startswith("RuntimeError: The size of tensor a (3) must match")
    assert re.search(r" at setting\.py:\d+$", outcomes[1].reason)
    assert outcomes[2].reason == "it needs another machine"
    assert outcomes[3].reason == ""


def test_what_was_found_and_why_it_failed_are_shown(setting):
    (outcome,) = run_checks({7: Check("a title", wrong)}, setting)
    first, value, reason = shown(outcome).splitlines()
    assert first.split() == ["7", "FAIL", "0", "s", "a", "title"]
    assert (value.strip(), reason.strip()) == ("value: 2", "value beyond 1")
