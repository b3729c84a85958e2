import numpy as np
import torch

from ssl_dml.evaluation.audit import (
    _copies,
    alike_classes,
    duplicate_findings,
    embedding_findings,
)
from ssl_dml.evaluation.copies import nearest_others
from ssl_dml.tables import EmbeddingTable


def test_of_each_group_of_equal_samples_one_stays_a_test_sample_first():
    digests = np.array([5, 6, 5, 7, 5, 6], np.uint64)
    tested = torch.tensor([False] * 4 + [True, False])
    unique = torch.tensor([0, 1, 3])
    labels = torch.tensor([0, 1, 0, 2, 1, 1])
    found = duplicate_findings(digests, tested, labels, None, unique)
    assert {one.row for one in found if one.drop} == {0, 2, 5}
    leaks = [one for one in found if one.leak]
    assert [(one.row, one.other) for one in leaks] == [(0, 4)]
    assert (
        leaks[0].reason
        == "the same, value by value; trained on and tested on; of different classes"
    )


def test_a_changed_copy_is_left_out_if_it_is_sure_and_of_the_same_class():
    scores = {(0, 1): 0.9995, (2, 3): 0.9995, (4, 5): 0.998, (6, 7): 1.0}
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 0, 1])
    tested = torch.zeros(8, dtype=torch.bool)
    found = _copies(scores, {(6, 7)}, set(), tested, labels)
    assert {one.row for one in found} == {1, 3, 5, 7}
    assert {one.row for one in found if one.drop} == {1, 7}  # equal values are no look-alikes
    unlabeled = _copies(scores, {(6, 7)}, set(), tested, torch.full((8,), -1))
    assert {one.row for one in unlabeled if one.drop} == {1, 3, 7}


def test_outliers_and_classes_that_look_like_one():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    centers = 4 * torch.eye(4, 16)
    centers[3] = centers[2]  # two classes that are one
    x = centers[labels] + 0.3 * torch.randn(400, 16, generator=generator)
    x[11] = 0
    x[11, 15] = 50.0
    table = EmbeddingTable(embeddings=x, labels=labels)
    found = embedding_findings(table, ["a", "b", "c", "d"])
    assert [one.row for one in found if one.kind == "outlier"] == [11]
    (pair,) = [one for one in found if one.kind == "classes"]
    assert pair.reason.startswith("c and d are mixed ")
    assert 0.75 <= pair.score < 1.3


def test_classes_apart_are_not_one():
    labels = torch.arange(40) % 2
    rows = torch.eye(2)[labels] + 0.01 * torch.randn(40, 2)
    near, _ = nearest_others(rows, 5)
    assert alike_classes(labels, near, torch.arange(40)) == []


def test_nearest_others_are_those_of_a_full_comparison():
    rows = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(rows, dim=1)
    full = unit @ unit.T
    full.fill_diagonal_(-2)
    cosines, near = full.topk(5)
    found, ours = nearest_others(rows, 5)
    assert (found == near).double().mean() > 0.999
    torch.testing.assert_close(ours, cosines, atol=1e-5, rtol=0)
