import math

import pytest
import torch
from benchmarks import loss_table
from benchmarks.loss_cases import CASES, loss_of
from benchmarks.losses import Cost, expected, in_child, measure_cost, measure_times

BOTH = [name for name, case in CASES.items() if case.theirs and case.equal]


@pytest.mark.parametrize("name", BOTH)
def test_both_sides_are_the_same_loss(name):
    """So that it is fair to compare them."""
    case = CASES[name]
    of_each = case.of_each or 4
    labels = torch.arange(16 // of_each).repeat_interleave(of_each)
    rows = torch.randn(16, 12)
    values = [loss_of(name, side, 8, 12)(rows, labels) for side in ("ours", "theirs")]
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_ours_is_measured(name):
    found = measure_times(name, ["ours"], 64, torch.get_num_threads(), 0.0)
    seconds, value = found["ours"]
    assert seconds > 0
    assert math.isfinite(value)


@pytest.mark.slow
def test_the_table_has_a_line_for_each_loss_and_batch(capsys):
    loss_table([16, 64], losses=["contrastive", "contrastive_hadsell"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["loss", "rows", "ours"]
    shown = [line.split() for line in lines]
    assert [line[:2] for line in shown] == [
        ["contrastive", "16"],
        ["contrastive", "64"],
        ["contrastive_hadsell", "16"],
        ["contrastive_hadsell", "64"],
    ]
    assert shown[0][-2].endswith("x")
    assert float(shown[0][-1]) < 1e-5
    assert shown[2][-1] == "MB"


def test_what_would_take_too_long_is_not_run(capsys):
    loss_table([16, 2**40], losses=["contrastive"])
    assert capsys.readouterr().out.splitlines()[-1].count("about") == 2


def test_what_needs_too_much_memory_says_so(capsys):
    loss_table([2048], losses=["contrastive"], gigabytes=0.03)
    assert capsys.readouterr().out.splitlines()[-1].count("over 0.03 GB") == 2


def test_a_process_of_its_own_is_limited():
    assert in_child(measure_cost, "contrastive", "ours", 2048, 1, 0.03) is None
    found = in_child(measure_cost, "contrastive", "ours", 2048, 1, 4.0)
    assert found.seconds > 0
    assert 0.03 < found.gigabytes < 0.5


def test_growth_is_that_of_the_last_two_sizes_between_square_and_cube():
    one = {64: Cost(1.0, 0.1)}
    assert expected({}, 64) == (0, 0)
    assert expected(one, 256) == pytest.approx((64, 6.4))
    square = expected({**one, 128: Cost(4.0, 0.1)}, 256)
    assert square == pytest.approx((16, 0.4))  # memory is taken to grow from now on
    cube = expected({**one, 128: Cost(64.0, 0.75)}, 256)
    assert cube == pytest.approx((512, 0.75 * 7.5))


def test_errors():
    with pytest.raises(ValueError, match="losses has no 'lifting'; choose from contrastive, "):
        loss_table(losses=["lifting"])
