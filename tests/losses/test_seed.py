"""SEED beside its definition."""

import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import SEED, info_nce, seed


def reference(student, teacher, queue, temperature, teacher_temperature):
    """Eq. 3 to 6 of arXiv:2101.04731 term by term, in Python floats."""

    def unit(row):
        length = math.hypot(*row)
        return [x / length for x in row]

    def softmax(row, keys, tau):
        powers = [math.exp(sum(map(float.__mul__, row, key)) / tau) for key in keys]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for s, t in zip(map(unit, student), map(unit, teacher), strict=True):
        keys = [t, *map(unit, queue)]
        wanted = softmax(t, keys, teacher_temperature)
        found = softmax(s, keys, temperature)
        total -= sum(p * math.log(q) for p, q in zip(wanted, found, strict=True))
    return total / len(student)


@pytest.mark.parametrize("tile_size", [None, 2])
@pytest.mark.parametrize("keys", [0, 1, 7])
def test_it_matches_its_definition(keys, tile_size):
    student, teacher = torch.randn(2, 4, 3, dtype=torch.float64)
    queue = torch.randn(keys, 3, dtype=torch.float64)
    options = {"temperature": 0.3, "teacher_temperature": 0.1}
    found = seed(student, teacher, queue, tile_size=tile_size, **options)
    expected = reference(student.tolist(), teacher.tolist(), queue.tolist(), 0.3, 0.1)
    assert_close(found.item(), expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(found, SEED(tile_size=tile_size, **options)(student, teacher, queue))


def test_a_teacher_that_is_sure_makes_it_info_nce():
    student, teacher = torch.randn(2, 4, 8, dtype=torch.float64)
    queue = torch.randn(9, 8, dtype=torch.float64)
    found = seed(student, teacher, queue, temperature=0.2, teacher_temperature=1e-4)
    assert_close(found, info_nce(student, teacher, queue, temperature=0.2))


def test_the_gradient_is_that_of_differences_and_reaches_the_student_alone():
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64)
    queue = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    student.requires_grad_()
    teacher.requires_grad_()
    options = {"temperature": 0.3, "teacher_temperature": 0.1}
    assert torch.autograd.gradcheck(
        lambda rows: seed(rows, teacher.detach(), queue.detach(), **options), student
    )
    seed(student, teacher, queue, **options).backward()
    assert teacher.grad is None
    assert queue.grad is None


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_extreme_values_stay_finite(scale):
    student = (torch.randn(4, 8) * scale).requires_grad_()
    loss = seed(student, torch.randn(4, 8) * scale, torch.randn(6, 8), teacher_temperature=1e-3)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    rows = torch.randn(3, 4, 8)
    half = [part.bfloat16() for part in rows]
    assert_close(seed(*half), seed(*(part.float() for part in half)))


@pytest.mark.parametrize("name", ["temperature", "teacher_temperature"])
def test_a_temperature_that_cannot_be_is_named(name):
    with pytest.raises(ValueError, match=rf"{name} must be positive, got 0\.0"):
        seed(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2), **{name: 0.0})
