import pytest
import torch
from torch.testing import assert_close

from ssl_dml.precision import full_precision, unit_rows


@full_precision
def product(a, b, *, scale):
    return (a @ b) * scale


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_widened_and_autocast_is_off(dtype):
    a, b = torch.randn(2, 8, 8).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = product(a, b=b, scale=2.0)
    assert found.dtype == torch.float32
    assert_close(found, (a.float() @ b.float()) * 2.0)


def test_doubles_stay_doubles():
    a = torch.randn(3, 3, dtype=torch.float64)
    assert product(a, a, scale=1.0).dtype == torch.float64


def test_gradients_come_back_in_the_type_of_the_input():
    a = torch.randn(2, 2, dtype=torch.bfloat16, requires_grad=True)
    product(a, torch.eye(2), scale=1.0).sum().backward()
    assert a.grad.dtype == torch.bfloat16


def test_unit_rows_have_length_one_and_zero_rows_stay_zero():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    found = unit_rows(rows)
    assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    found.sum().backward()
    assert rows.grad.isfinite().all()
