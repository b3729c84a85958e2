import math
import operator
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from ssl_dml.methods import DCL, NNCLR, SEED, MoCo, MoCoV3, RunInfo, SimCLR
from ssl_dml.methods.views import check_run_info, check_views, embed_views, information
from ssl_dml.types import Batch


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


INFORMED = {
    SimCLR: ({}, 11),  # the 10 views of other samples, and its own
    MoCo: ({"queue_size": 20, "batch_norm": "synchronized"}, 21),
    MoCoV3: ({"hidden_dim": 16}, 6),
    NNCLR: ({"queue_size": 20, "predictor_dim": 16}, 6),
}


@pytest.mark.parametrize("method", INFORMED)
def test_the_bound_on_mutual_information_is_log_n_minus_the_loss(flat, run_info, method):
    options, candidates = INFORMED[method]
    made = method(flat, run_info, temperature=0.3, output_dim=5, **options)
    loss, logs = made(Batch(list(torch.randn(2, 6, 1, 8, 8)), torch.arange(6)))
    mean = loss / (4 * 0.3) if method is MoCoV3 else loss  # which weighs the sum of both directions
    assert_close(logs["mutual_information"].item(), math.log(candidates) - mean.item())
    assert_close(logs["mutual_information_limit"].item(), math.log(candidates))
    assert not any(value.requires_grad for value in logs.values())


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_the_bound_of_dcl_is_that_of_info_nce(flat, run_info, sigma):
    """Without the positive among the candidates there would be no bound."""
    method = DCL(flat, run_info, temperature=0.3, output_dim=5, weight_sigma=sigma)
    views = list(torch.randn(2, 6, 1, 8, 8))
    logs = method(Batch(views, torch.arange(6))).logs
    rows = F.normalize(method.projector(flat(torch.cat(views))), dim=1).tolist()
    costs = []
    for i, row in enumerate(rows):
        scores = [math.exp(sum(map(operator.mul, row, other)) / 0.3) for other in rows]
        own = scores[(i + 6) % 12]
        costs.append(-math.log(own / (sum(scores) - scores[i])))
    assert_close(logs["mutual_information"].item(), math.log(11) - sum(costs) / 12)


def test_a_loss_of_several_has_the_mean_of_the_limits():
    logs = information(torch.tensor(1.0), 4, 9)
    assert_close(logs["mutual_information_limit"].item(), math.log(6))
    assert_close(logs["mutual_information"].item(), math.log(6) - 1)
