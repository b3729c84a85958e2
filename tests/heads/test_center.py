"""Center loss and the rule of its centers beside values computed elsewhere."""

import math

import pytest
import torch
from rows import small
from torch.testing import assert_close

from ssl_dml.heads import CenterLoss

CENTERS = [[0.5, 0.0, 0.1], [0.0, 0.5, 0.2], [0.1, 0.1, 0.4], [9.0, 9.0, 9.0]]
AFTER = [
    [
        [0.6166666666666667, -0.016666666666666666, 0.15],
        [0.016666666666666666, 0.6, 0.15000000000000002],
        [0.03333333333333334, 0.03333333333333334, 0.5],
        [9.0, 9.0, 9.0],
    ],
    [
        [0.6944444444444444, -0.02777777777777778, 0.18333333333333332],
        [0.02777777777777778, 0.6666666666666666, 0.1166666666666667],
        [-0.011111111111111106, -0.011111111111111106, 0.5666666666666667],
        [9.0, 9.0, 9.0],
    ],
]


def doubles(rows):
    return torch.tensor(rows, dtype=torch.float64)


def head(**options):
    made = CenterLoss(3, 4, **options).double()
    made.centers.copy_(doubles(CENTERS))
    return made


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(head()(rows, labels).loss.item(), 0.755, rtol=1e-12, atol=0)
    mean = head(reduction="mean")(rows, labels).loss
    assert_close(mean.item(), 0.12583333333333332, rtol=1e-12, atol=0)


def test_centers_computed_elsewhere_after_one_batch_and_two():
    model = head()
    for expected in AFTER:
        model(*small())
        assert_close(model.centers, doubles(expected), rtol=1e-12, atol=1e-15)


def test_a_class_moves_by_its_count_and_the_others_stay():
    """Three rows at 1 pull a center at 0 by alpha * 3 / 4."""
    model = CenterLoss(2, 5, alpha=0.2)
    model(torch.ones(3, 2), torch.tensor([3, 3, 3]))
    expected = torch.zeros(5, 2)
    expected[3] = 0.2 * 3 / 4
    assert_close(model.centers, expected)


def test_rows_are_drawn_to_their_centers_as_they_were_before_the_batch():
    rows, labels = small()
    rows.requires_grad_()
    for reduction, factor in (("sum", 1.0), ("mean", 1 / 6)):
        loss = head(reduction=reduction)(rows, labels).loss
        (gradient,) = torch.autograd.grad(loss, rows)
        assert_close(gradient, factor * (rows.detach() - doubles(CENTERS)[labels]))


def test_gradient():
    rows, labels = small()
    model = head().eval()
    assert torch.autograd.gradcheck(lambda rows: model(rows, labels).loss, rows.requires_grad_())


def test_evaluation_moves_nothing():
    model = head().eval()
    model(*small())
    assert_close(model.centers, doubles(CENTERS), rtol=0, atol=0)


@pytest.mark.parametrize("labels", [[1], [2, 2, 2], [0, 1, 3]])
def test_one_row_and_one_class_are_as_any(labels):
    rows = torch.randn(len(labels), 3, dtype=torch.float64)
    expected = sum(
        math.dist(row, CENTERS[label]) ** 2 / 2
        for row, label in zip(rows.tolist(), labels, strict=True)
    )
    assert_close(head()(rows, torch.tensor(labels)).loss.item(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    rows, labels = torch.randn(6, 3).to(dtype), torch.tensor([0, 0, 1, 2, 2, 2])
    half, full = CenterLoss(3, 3), CenterLoss(3, 3)
    for _ in range(2):
        with torch.autocast("cpu", dtype=dtype):
            found = half(rows, labels).loss
        assert_close(found, full(rows.float(), labels).loss, rtol=0, atol=0)
    assert_close(half.centers, full.centers, rtol=0, atol=0)


def test_is_finite_on_the_centers_and_far_from_them():
    rows = torch.tensor([[0.0, 0.0], [1e4, -1e4]], requires_grad=True)
    loss = CenterLoss(2, 2)(rows, torch.tensor([0, 1])).loss
    assert loss == 1e8
    assert_close(torch.autograd.grad(loss, rows)[0], rows.detach())


def test_centers_survive_a_checkpoint():
    first, second = head(), CenterLoss(3, 4).double()
    first(*small())
    second.load_state_dict(first.state_dict())
    assert second(*small()).loss == first(*small()).loss
    assert torch.equal(second.centers, first.centers)
    assert list(second.parameters()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
        ({"reduction": "max"}, "reduction must be sum or mean, got max"),
    ],
)
def test_errors(options, words):
    with pytest.raises(ValueError, match=words):
        CenterLoss(3, 4, **options)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_of_no_class_is_named_and_moves_nothing(label):
    model = head()
    with pytest.raises(ValueError, match=f"labels must be from 0 to 3, got {label}: "):
        model(torch.ones(2, 3, dtype=torch.float64), torch.tensor([0, label]))
    assert_close(model.centers, doubles(CENTERS), rtol=0, atol=0)
