import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import cpc, cpc_scores

MODES = ["batch", "sequence", "both"]


def reference(predictions, targets, first_row, negatives, scale):
    """Eq. 4 of arXiv:1807.03748 term by term, in Python floats."""
    total = 0.0
    for b, sequence in enumerate(predictions):
        row = first_row + b
        for p, prediction in enumerate(sequence):

            def score(target, prediction=prediction):
                dots = (x * y for x, y in zip(prediction, target, strict=True))
                return math.exp(scale * sum(dots))

            places = []
            if negatives in ("batch", "both"):
                places += [(a, p) for a in range(len(targets)) if a != row]
            if negatives in ("sequence", "both"):
                places += [(row, q) for q in range(len(sequence)) if q != p]
            own = score(targets[row][p])
            total -= math.log(own / (own + sum(score(targets[a][q]) for a, q in places)))
    return total / len(predictions) / len(predictions[0])


def loss(predictions, targets, **arguments):
    return cpc(cpc_scores(predictions, targets, **arguments))


@pytest.mark.parametrize("negatives", MODES)
@pytest.mark.parametrize(("batch", "first_row", "everyone"), [(4, 0, 4), (2, 3, 6), (1, 0, 1)])
@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_matches_definition(negatives, batch, first_row, everyone, scale):
    predictions = torch.randn(batch, 5, 3, dtype=torch.float64)
    targets = torch.randn(everyone, 5, 3, dtype=torch.float64)
    arguments = {"first_row": first_row, "negatives": negatives, "scale": scale}
    expected = reference(predictions.tolist(), targets.tolist(), **arguments)
    assert_close(loss(predictions, targets, **arguments).item(), expected, rtol=1e-12, atol=1e-12)


def test_known_value_of_two_steps():
    """Two steps ahead with bilinear scores, computed apart with NumPy."""
    context = torch.tensor([[0.5, 0.2], [-0.3, 0.8], [0.9, -0.1]], dtype=torch.float64)
    maps = torch.tensor([[[0.3, 0.1], [0.2, -0.4], [0.5, 0.6]],
                         [[-0.2, 0.7], [0.1, 0.1], [0.4, -0.3]]], dtype=torch.float64)  # fmt: skip
    latents = torch.tensor(
        [[0.9, 0.1, 0.2], [0.8, -0.2, 0.3], [-0.1, 0.7, 0.4], [0.2, 0.9, -0.3], [0.1, -0.4, 0.8],
         [-0.3, 0.2, 0.6]], dtype=torch.float64)  # fmt: skip
    losses = [
        loss((context @ maps[k].T)[:, None], latents[k::2][:, None], negatives="batch")
        for k in (0, 1)
    ]
    assert_close(torch.stack(losses).mean().item(), 1.0822907422430168, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("negatives", "candidates"), [("batch", 6), ("sequence", 5), ("both", 10)])
def test_equal_scores_cost_log_of_the_number_of_candidates(negatives, candidates):
    equal = torch.ones(6, 5, 3)
    assert_close(loss(equal[:2], equal, negatives=negatives), torch.tensor(math.log(candidates)))


def test_one_sample_has_negatives_only_in_its_own_sequence():
    prediction, target = torch.randn(2, 1, 5, 3)
    alone = cpc_scores(prediction, target, negatives="batch")
    assert cpc(alone).item() == 0.0
    assert loss(prediction, target, negatives="sequence") > 0
    assert_close(
        loss(prediction, target, negatives="sequence"), loss(prediction, target, negatives="both")
    )


@pytest.mark.parametrize("negatives", MODES)
def test_gradient(negatives):
    predictions = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p, t: loss(p, t, first_row=1, negatives=negatives), (predictions, targets)
    )


@pytest.mark.parametrize("negatives", MODES)
def test_is_finite_where_a_plain_exponential_overflows(negatives):
    predictions = torch.full((3, 4, 2), 1e3, requires_grad=True)
    value = loss(predictions, -predictions.detach(), negatives=negatives)
    value.backward()
    assert value.isfinite()
    assert predictions.grad is not None
    assert predictions.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_inputs_compute_in_float32(dtype):
    predictions, targets = torch.randn(2, 4, 5, 16).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(predictions, targets)
    assert value.dtype == torch.float32
    assert_close(value, loss(predictions.float(), targets.float()))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_refuses_a_scale_that_is_not_positive(scale):
    with pytest.raises(ValueError, match=f"scale must be positive, got {scale}"):
        cpc_scores(torch.ones(2, 2, 2), torch.ones(2, 2, 2), scale=scale)


@pytest.mark.parametrize("first_row", [-1, 3])
def test_refuses_rows_that_are_not_among_the_targets(first_row):
    with pytest.raises(ValueError, match=f"first_row must be from 0 to 2, got {first_row}"):
        cpc_scores(torch.ones(2, 2, 2), torch.ones(4, 2, 2), first_row=first_row)
