import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.methods import NNCLR, SEED, MoCo, RunInfo
from ssl_dml.methods.views import check_run_info, check_views, embed_views


def test_views_of_one_size_are_encoded_together_and_others_separately(flat):
    sizes: list[int] = []
    flat.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    views = [torch.randn(6, 1, 8, 8), torch.randn(6, 1, 4, 4), torch.randn(6, 1, 8, 8)]
    projector = nn.Linear(16, 5)
    rows = embed_views(flat, projector, views)
    assert sizes == [12, 6]
    assert rows.shape == (3, 6, 5)
    for row, view in zip(rows, (views[0], views[2], views[1]), strict=True):
        assert_close(row, projector(flat.layer(view).flatten(1)))


@pytest.mark.parametrize(
    ("count", "limits", "words"),
    [
        (0, {"least": 1}, r"set crops\.views to 1 or more: .* got 0"),
        (1, {}, r"set crops\.views to 2 or more: .* got 1"),
        (3, {"most": 2}, r"set crops\.views to 2: .* got 3"),
    ],
)
def test_a_number_of_views_out_of_range_is_named(count, limits, words):
    with pytest.raises(ValueError, match=words):
        check_views([torch.zeros(2, 1, 4, 4)] * count, **limits)
    check_views([torch.zeros(2, 1, 4, 4)] * 2, **limits)


def test_a_batch_of_one_and_a_temperature_of_0_are_named():
    one, two = (RunInfo(num_instances=3, batch_size=n, num_batches=1) for n in (1, 2))
    check_run_info(two, temperature=0.1)
    with pytest.raises(ValueError, match=r"data\.batch_size must be at least 2, got 1"):
        check_run_info(one, temperature=0.1)
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        check_run_info(two, temperature=0.0)


@pytest.mark.parametrize(
    ("samples", "batches", "possible"), [(12, 100, 6), (40, 100, 20), (400, 4, 24), (40, 3, 18)]
)
@pytest.mark.parametrize("name", ["MoCo", "NNCLR", "SEED"])
def test_a_queue_that_is_too_long_names_one_that_is_not(
    name, samples, batches, possible, flat, teacher, capsys
):
    build = {
        "MoCo": partial(MoCo, output_dim=5, parts=3),
        "NNCLR": partial(NNCLR, predictor_dim=16, output_dim=5),
        "SEED": partial(SEED, teacher=teacher),
    }[name]
    run_info = RunInfo(num_instances=samples, batch_size=6, num_batches=batches)
    capsys.readouterr()
    build(flat, run_info, queue_size=4096)
    said = capsys.readouterr().out
    assert re.fullmatch(rf"queue_size 4096 is more than .*: {possible} is possible\n", said)
    assert (f"the {samples} samples" in said) == (samples < 4096)
    assert (f"the {6 * batches} keys of this run" in said) == (6 * batches < 4096)
    build(flat, run_info, queue_size=possible)
    assert capsys.readouterr().out == ""


def test_a_symmetric_method_fills_twice_as_long_a_queue(flat, capsys):
    run_info = RunInfo(num_instances=100, batch_size=6, num_batches=2)
    build = partial(MoCo, flat, run_info, output_dim=5, parts=3)
    build(queue_size=24, symmetric=True)
    assert capsys.readouterr().out == ""
    build(queue_size=24)
    assert "than the 12 keys of this run" in capsys.readouterr().out
