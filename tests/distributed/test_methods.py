"""W processes equal one on the whole batch, and a resumed run one that was never stopped."""

from pathlib import Path

import pytest
from processes import assert_equal_one, assert_resumed, loader, names_in

WORKER = Path(__file__).parent / "method_steps.py"
NAMES = names_in(WORKER, "METHODS")
# The same methods with one more part, most of which has quick tests of its own.
MORE = ("nested", "adapters", "chunk", "last_block", "four_views")
SLOW = [name for name in NAMES if any(part in name for part in MORE)]
QUICK = [name for name in NAMES if name not in SLOW]
EACH = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def steps_of(run_workers, tmp_path_factory):
    return loader(WORKER, run_workers, tmp_path_factory.mktemp("steps"), QUICK, SLOW)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", EACH)
def test_processes_equal_one(name, world, steps_of):
    assert_equal_one(name, steps_of(name, world), steps_of(name, 1)[0])


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", EACH)
def test_resumed_equals_never_stopped(name, world, steps_of):
    assert_resumed(steps_of(name, world))
