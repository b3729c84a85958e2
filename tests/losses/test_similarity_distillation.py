"""Similarity distillation beside its definition."""

import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import SimilarityDistillation, similarity_distillation


def reference(student, teacher, temperature):
    """The cross-entropy of softmaxes over the other samples, in Python floats."""

    def softmax(rows, i):
        def cosine(a, b):
            return sum(map(float.__mul__, a, b)) / math.hypot(*a) / math.hypot(*b)

        others = [j for j in range(len(rows)) if j != i]
        powers = [math.exp(cosine(rows[i], rows[j]) / temperature) for j in others]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for i in range(len(student)):
        pairs = zip(softmax(teacher, i), softmax(student, i), strict=True)
        total -= sum(p * math.log(q) for p, q in pairs)
    return total / len(student)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_matches_its_definition(temperature):
    student = torch.randn(6, 2, dtype=torch.float64)
    teacher = torch.randn(6, 5, dtype=torch.float64)
    given = (student, teacher, student, teacher)
    found = similarity_distillation(*given, temperature=temperature)
    expected = reference(student.tolist(), teacher.tolist(), temperature)
    assert_close(found.item(), expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(found, SimilarityDistillation(temperature=temperature)(*given))


def test_parts_of_the_rows_have_the_mean_of_the_whole():
    student, teacher = torch.randn(6, 2), torch.randn(6, 5)
    whole = similarity_distillation(student, teacher, student, teacher)
    parts = [
        similarity_distillation(
            student[at : at + 3], teacher[at : at + 3], student, teacher, first_row=at
        )
        for at in (0, 3)
    ]
    assert_close(torch.stack(parts).mean(), whole)


def test_a_student_that_is_its_teacher_pays_the_entropy_and_has_no_gradient():
    rows = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    loss = similarity_distillation(rows, rows, rows, rows)
    (gradient,) = torch.autograd.grad(loss, rows)
    assert_close(gradient, torch.zeros_like(gradient), rtol=0.0, atol=1e-12)
    worse = similarity_distillation(torch.randn_like(rows), rows, torch.randn_like(rows), rows)
    assert loss < worse


def test_gradient_reaches_student_and_its_keys_alone():
    student = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda rows: similarity_distillation(rows, teacher, rows, teacher), student
    )
    similarity_distillation(student, teacher, student, teacher).backward()
    assert teacher.grad is None


def test_extremes_are_finite():
    rows = torch.eye(3, requires_grad=True)
    loss = similarity_distillation(rows, -rows, rows, -rows, temperature=1e-3)
    loss.backward()
    assert loss.isfinite()
    assert rows.grad.isfinite().all()
    one = torch.ones(1, 2)
    assert similarity_distillation(one, one, one, one) == 0


def test_mistakes_are_named():
    rows = torch.ones(3, 2)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        similarity_distillation(rows, rows, rows, rows, temperature=0.0)
    with pytest.raises(ValueError, match="first_row must be from 0 to 0, got 1"):
        similarity_distillation(rows, rows, rows, rows, first_row=1)
