import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import nt_xent, supcon

ROWS = [[0.9, 0.1, 0.2], [0.8, -0.2, 0.3], [-0.1, 0.7, 0.4], [0.2, 0.9, -0.3], [0.1, -0.4, 0.8],
        [-0.3, 0.2, 0.6]]  # fmt: skip
GRADIENT = [
    [-0.007331710255715602, 0.02490563918250058, 0.020539876559469917],
    [-0.21240297570073777, -0.20464003376025922, 0.4299812460284612],
    [-1.4906505863860713, -1.6531441840889693, 2.5203396755591783],
    [0.35798356984964336, -0.37014457683785407, -0.8717780172804659],
    [1.5621354026780685, -1.1181524251835888, -0.7543431379265528],
    [-0.2931045304119169, 4.003903831412054, -1.481186875676643],
]


def reference(rows, labels, temperature):
    """Eq. 2 of arXiv:2004.11362 in Python floats; anchors without a positive are left out."""

    def score(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.hypot(*a) / math.hypot(*b) / temperature

    losses = []
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        others = [j for j in range(len(rows)) if j != i]
        positives = [j for j in others if labels[j] == label]
        if positives:
            log_sum = math.log(sum(math.exp(score(row, rows[j])) for j in others))
            mean = sum(score(row, rows[j]) for j in positives) / len(positives)
            losses.append(log_sum - mean)
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("tile_size", [None, 2])
@pytest.mark.parametrize("labels", [[0, 0, 1, 2, 2], [4, 4, 4, 4, 4], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("views", [1, 2, 3])
def test_matches_definition(views, labels, tile_size):
    rows = torch.randn(views, 5, 3, dtype=torch.float64)
    found = supcon(rows, torch.tensor(labels), temperature=0.2, tile_size=tile_size)
    flat = [row for view in rows.tolist() for row in view]
    expected = reference(flat, labels * views, 0.2)
    assert_close(found.item(), expected, rtol=1e-11, atol=1e-12)


def test_known_value_and_gradient():
    rows = torch.tensor(ROWS, dtype=torch.float64, requires_grad=True)
    loss = supcon(rows[None], torch.tensor([0, 0, 1, 1, 2, 2]), temperature=0.1)
    loss.backward()
    assert_close(loss.item(), 0.551747421490191)
    assert_close(rows.grad, torch.tensor(GRADIENT, dtype=torch.float64))


def test_classes_of_one_sample_make_it_nt_xent():
    views = torch.randn(2, 6, 4, dtype=torch.float64)
    for labels in (torch.arange(6), torch.full((6,), -1)):
        assert_close(
            supcon(views, labels, temperature=0.3), nt_xent(views[0], views[1], temperature=0.3)
        )


def test_anchors_without_a_positive_do_not_count():
    rows = torch.randn(1, 3, 4, requires_grad=True)
    loss = supcon(rows, torch.tensor([0, 1, -1]))
    loss.backward()
    assert loss.item() == 0
    assert rows.grad.abs().max() == 0


def test_base_temperature_scales():
    views, labels = torch.randn(2, 4, 3), torch.tensor([0, 0, 1, 1])
    plain = supcon(views, labels, temperature=0.1)
    assert_close(supcon(views, labels, temperature=0.1, base_temperature=0.05), 2 * plain)


def test_gradient():
    rows = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda x: supcon(x, labels, tile_size=3), [rows])


@pytest.mark.parametrize("rows", [torch.eye(4), torch.ones(4, 4), torch.zeros(4, 4)])
def test_is_finite_at_extremes(rows):
    views = torch.stack([rows, -rows]).requires_grad_()
    loss = supcon(views, torch.tensor([0, 0, 1, 1]), temperature=1e-3)
    loss.backward()
    assert loss.isfinite()
    assert views.grad.isfinite().all()


def test_half_inputs_compute_in_float32():
    views, labels = torch.randn(2, 8, 16).bfloat16(), torch.arange(8) % 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supcon(views, labels)
    assert_close(loss, supcon(views.float(), labels))


def test_errors():
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        supcon(torch.ones(2, 2, 2), torch.zeros(2).long(), temperature=0.0)
    with pytest.raises(ValueError, match=r"base_temperature must be positive, got 0\.0"):
        supcon(torch.ones(2, 2, 2), torch.zeros(2).long(), base_temperature=0.0)
