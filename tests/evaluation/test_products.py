import numpy as np
import pytest
import torch

from ssl_dml.evaluation import products
from ssl_dml.evaluation.products import largest_products

CPU = torch.device("cpu")


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_finds_what_a_sort_of_all_products_finds(monkeypatch, small, plus, k):
    if small:  # tiles that k rows do not fill, and a last one that is smaller
        monkeypatch.setattr(products, "QUERIES", 8)
        monkeypatch.setattr(products, "ROWS", 11)
    gallery, query = torch.randn(60, 5), torch.randn(20, 5)
    added = torch.randn(60) if plus else None
    values, rows = largest_products(gallery, query, k, device=CPU, added=added)
    all_of_them = query.double().numpy() @ gallery.double().numpy().T
    all_of_them += 0 if added is None else added.double().numpy()
    np.testing.assert_array_equal(rows.numpy(), np.argsort(-all_of_them, axis=1)[:, :k])
    np.testing.assert_allclose(values.numpy(), -np.sort(-all_of_them, axis=1)[:, :k], atol=1e-5)


def test_nothing_to_search_for_finds_nothing():
    values, rows = largest_products(torch.eye(3), torch.empty(0, 3), 2, device=CPU)
    assert (values.shape, rows.shape) == ((0, 2), (0, 2))


def test_products_are_in_float32_whatever_was_chosen(monkeypatch):
    seen, best = [], products._best

    def noted(*given):
        seen.append(torch.get_float32_matmul_precision())
        return best(*given)

    monkeypatch.setattr(products, "_best", noted)
    torch.set_float32_matmul_precision("medium")
    try:
        largest_products(torch.eye(3), torch.eye(3), 1, device=CPU)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]
