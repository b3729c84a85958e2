"""The contrastive loss beside values computed elsewhere."""

import math

import pytest
import torch
from rows import small
from torch.testing import assert_close

from ssl_dml.losses import contrastive
from ssl_dml.types import LabeledEmbeddings


def reference(rows, labels, margin, variant):
    """Mean over pairs i < j, term by term."""
    terms = []
    for i, a in enumerate(rows):
        for b, same in zip(rows[:i], (labels[i] == other for other in labels[:i]), strict=True):
            d = math.dist(a, b)
            term = d if same else max(0, margin - d)
            terms.append(term**2 / 2 if variant == "hadsell" else term)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("variant", ["hadsell", "plain"])
@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_matches_definition(variant, margin):
    rows, labels = small()
    found = contrastive(rows, labels, margin=margin, variant=variant)
    assert_close(found.item(), reference(rows.tolist(), labels.tolist(), margin, variant))


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(contrastive(rows, labels).item(), 0.04949117658089417)
    assert_close(contrastive(rows, labels, variant="plain").item(), 0.1606508261669948)
    found = contrastive(rows, labels, variant="plain", reduction="non_zero")
    assert_close(found.item(), 0.8936487389538761)


def test_second_step_of_a_cross_batch_memory():
    """Rows 0, 2 and 4 came before; rows 1, 3 and 5 are compared with them and with each other."""
    rows, labels = small()
    memory = LabeledEmbeddings(rows[::2], labels[::2])
    found = contrastive(rows[1::2], labels[1::2], variant="plain", reduction="kinds", memory=memory)
    assert_close(found.item(), 0.6676622186566209)


def test_gradient_computed_elsewhere():
    rows, labels = small()
    rows.requires_grad_()
    (2 * contrastive(rows, labels)).backward()
    first = torch.tensor([0.01333333333333333, 0.04, -0.01333333333333333], dtype=torch.float64)
    assert_close(rows.grad[0], first)


def test_equal_rows_of_two_classes_cost_half_the_square_of_the_margin():
    assert_close(contrastive(torch.ones(2, 3), torch.tensor([0, 1]), margin=3.0).item(), 4.5)
