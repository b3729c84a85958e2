"""Searches by smaller rows, beside plain numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ssl_dml.evaluation import forms
from ssl_dml.evaluation.forms import Form, others, rescored, same_rows, stored_recall
from ssl_dml.quantized import quantized, restored


def unit(rows, dim=12, seed=0):
    found = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


ROWS, QUERIES = unit(90), unit(20, seed=1)


def cosines(queries, rows):
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(rows, axis=1)
    return queries @ rows.T / lengths


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("dim", [12, 5])
def test_a_prefix_is_searched_by_the_cosine_of_what_is_stored(dim, dtype, monkeypatch):
    monkeypatch.setattr(forms, "BLOCK", 32)
    form = Form(dim, None, dtype)
    found = form.find(form.stored(ROWS), form.reduced(QUERIES), 7)
    kept = restored(quantized(ROWS[:, :dim], dtype), dim, dtype)
    expected = np.argsort(-cosines(QUERIES[:, :dim], kept), axis=1)[:, :7]
    assert same_rows(found, expected).mean() > 0.99  # rounding may exchange two
    assert (found[:, 0] == expected[:, 0]).all()


def test_bits_are_searched_by_the_number_that_differ():
    form = Form(12, None, "bit")
    found = form.find(form.stored(ROWS), QUERIES, 5)
    apart = ((QUERIES > 0)[:, None] != (ROWS > 0)).sum(axis=2)
    chosen = np.take_along_axis(apart, found, axis=1)
    assert (chosen == np.sort(apart, axis=1)[:, :5]).all()


def test_bits_of_rows_that_share_a_mean_are_the_signs_around_it():
    moved = ROWS + 5
    (form,) = [form for form in forms.forms(moved, []) if form.dtype == "bit"]
    near = form.find(form.stored(moved), form.reduced(QUERIES + 5), 40)
    plain = Form(12, None, "bit")
    alike = plain.find(plain.stored(moved), plain.reduced(QUERIES + 5), 40)
    exact = np.argsort(-(QUERIES - ROWS.mean(0)) @ (ROWS - ROWS.mean(0)).T, axis=1)[:, :10]
    found, lost = (same_rows(one, exact).mean() for one in (near, alike))
    assert found > 0.8
    assert lost < 0.6


def test_components_are_those_of_scikit_learn():
    (form, *_) = [form for form in forms.forms(ROWS, [4]) if form.name == "pca_4_float32"]
    theirs = PCA(4, svd_solver="full").fit(ROWS)
    for rows in (ROWS, QUERIES):
        ours, expected = form.reduced(rows), theirs.transform(rows)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        signs = np.sign((ours * expected).sum(axis=0))
        np.testing.assert_allclose(ours * signs, expected, atol=1e-4)


def test_each_form_once_the_whole_in_float32_first():
    names = [form.name for form in forms.forms(ROWS, [3, 6])]
    assert names[0] == "prefix_12_float32"
    assert len(names) == len({*names}) == 4 * (1 + 2 * 2)


def test_rescoring_all_candidates_is_the_exact_search():
    form, exact = Form(12, None, "bit"), np.argsort(-QUERIES @ ROWS.T, axis=1)[:, :5]
    held = form.stored(ROWS)
    for many, least in ((90, 1.0), (20, 0.7)):
        found = rescored(lambda many=many: form.find(held, QUERIES, many), ROWS, QUERIES, 5)
        assert same_rows(found, exact).mean() >= least
        assert many < 90 or (found == exact).all()


def test_a_row_does_not_find_itself():
    form, own = Form(12, None, "float32"), np.array([3, 80])
    held = form.stored(ROWS)
    found = others(lambda count: form.find(held, ROWS[own], count), own, 4)
    similar = ROWS[own] @ ROWS.T
    similar[[0, 1], own] = -9
    assert (found == np.argsort(-similar, axis=1)[:, :4]).all()


def test_recall_of_a_type_of_storage():
    rows = torch.from_numpy(unit(300, dim=32))
    recalls = [stored_recall(rows, dtype).mean for dtype in ("float32", "float16", "int8", "bit")]
    assert recalls[0] == 1
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[2] > 0.95 > recalls[3] > 0.2
