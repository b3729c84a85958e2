"""The contrastive loss beside values computed elsewhere."""

import itertools
import math

import pytest
import torch
from public_forms import PlainContrastive
from rows import small
from torch.testing import assert_close

from ssl_dml.losses import contrastive
from ssl_dml.types import LabeledEmbeddings


def reference(rows, labels, margin):
    """Mean over pairs i < j, term by term."""
    terms = []
    for i, a in enumerate(rows):
        for b, positive in zip(rows[:i], (labels[i] == own for own in labels[:i]), strict=True):
            d = math.dist(a, b)
            terms.append((d if positive else max(0, margin - d)) ** 2 / 2)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_matches_definition(margin):
    rows, labels = small()
    found = contrastive(rows, labels, margin=margin)
    assert_close(found.item(), reference(rows.tolist(), labels.tolist(), margin))


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(contrastive(rows, labels).item(), 0.04949117658089417)
    assert_close(PlainContrastive(non_zero=True)(rows, labels).item(), 0.8936487389538761)
    near, far = (PlainContrastive(margin=m)(rows, labels) for m in (0.0, 1.0))
    # Of 15 pairs 3 are positive; without a margin the form has no term of the other 12.
    assert_close(((3 * near + 12 * (far - near)) / 15).item(), 0.1606508261669948)


def test_kinds_are_averaged_apart():
    rows, labels = small()
    found = contrastive(rows, labels, margin=2.0, reduction="kinds")
    terms = {True: [], False: []}
    pairs = itertools.combinations(zip(rows.tolist(), labels.tolist(), strict=True), 2)
    for (a, own), (b, other) in pairs:
        d = math.dist(a, b)
        terms[own == other].append((d if own == other else max(0, 2 - d)) ** 2 / 2)
    assert_close(found.item(), sum(sum(part) / len(part) for part in terms.values()))


def test_second_step_of_a_cross_batch_memory():
    """Rows 0, 2 and 4 came before; rows 1, 3 and 5 are compared with them and with each other."""
    rows, labels = small()
    memory = LabeledEmbeddings(rows[::2], labels[::2])
    found = PlainContrastive()(rows[1::2], labels[1::2], memory)
    assert_close(found.item(), 0.6676622186566209)


def test_gradient_computed_elsewhere():
    rows, labels = small()
    rows.requires_grad_()
    (2 * contrastive(rows, labels)).backward()
    first = torch.tensor([0.01333333333333333, 0.04, -0.01333333333333333], dtype=torch.float64)
    assert_close(rows.grad[0], first)


def test_equal_rows_of_two_classes_cost_half_the_square_of_the_margin():
    assert_close(contrastive(torch.ones(2, 3), torch.tensor([0, 1]), margin=3.0).item(), 4.5)
