import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from ssl_dml.evaluation import label_distances, retrieval, search
from ssl_dml.tables import EmbeddingTable


def table(rows, labels):
    return EmbeddingTable(embeddings=torch.as_tensor(rows), labels=torch.as_tensor(labels))


def clusters(rows, classes, dim=6, spread=1.2):
    """Classes of different sizes, some of one row."""
    labels = (torch.rand(rows).square() * classes).long()
    return table(torch.randn(classes, dim)[labels] + spread * torch.randn(rows, dim), labels)


def reference(gallery, query, ks, metric):
    """The definitions, one query at a time; copies share one distance, and no code is shared."""
    rows, numbers = np.unique(gallery.embeddings.double().numpy(), axis=0, return_inverse=True)
    labels, asked = gallery.labels.numpy(), gallery if query is None else query
    found = []
    for i, row in enumerate(asked.embeddings.double().numpy()):
        if metric == "cosine":
            far = -(rows @ row) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(row))
        else:
            far = np.linalg.norm(rows - row, axis=1)
        order = [j for j in np.argsort(far[numbers], kind="stable") if query is not None or j != i]
        right = labels[order] == int(asked.labels[i])
        if not right.any():
            continue
        r = int(right.sum())
        at = [right[: place + 1].mean() if right[place] else 0.0 for place in range(r)]
        found.append([*(float(right[:k].any()) for k in ks), sum(at) / r, right[:r].mean()])
    names = [*(f"recall_at_{k}" for k in ks), "map_at_r", "r_precision"]
    means = dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))
    return means | {"queries": len(found), "left_out": len(asked.labels) - len(found)}


def test_eight_rows_on_a_line():
    line = table([[0.0], [1.0], [2.1], [3.3], [4.6], [6.0], [7.5], [9.1]], [0, 0, 1, 0, 1, 1, 2, 2])
    assert retrieval(line, ks=(1, 2, 4), metric="euclidean") == pytest.approx(
        {
            "recall_at_1": 0.5,
            "recall_at_2": 0.75,
            "recall_at_4": 1.0,
            "map_at_r": 0.34375,
            "r_precision": 0.375,
            "queries": 8,
            "left_out": 0,
        }
    )


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_matches_the_definitions_in_chunks_of_any_size(monkeypatch, metric, other, small):
    if small:
        monkeypatch.setattr(search, "WIDTH", 7)
        monkeypatch.setattr(search, "TILE", 300)
    gallery, query = clusters(150, 12), clusters(60, 14) if other else None
    found = retrieval(gallery, query, ks=(1, 3, 20), metric=metric)
    assert found == pytest.approx(reference(gallery, query, (1, 3, 20), metric), abs=1e-12)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_matches_pytorch_metric_learning(metric, other):
    gallery, query = clusters(300, 9), clusters(80, 9) if other else None
    oracle = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        k="max_bin_count",
        device=torch.device("cpu"),
        knn_func=CustomKNN(LpDistance(normalize_embeddings=metric == "cosine")),
    )
    asked = gallery if query is None else query
    tables = () if query is None else (gallery.embeddings, gallery.labels)
    expected = oracle.get_accuracy(asked.embeddings, asked.labels, *tables)
    found = retrieval(gallery, query, ks=(1,), metric=metric)
    assert found["recall_at_1"] == pytest.approx(expected["precision_at_1"])
    assert found["map_at_r"] == pytest.approx(expected["mean_average_precision_at_r"])
    assert found["r_precision"] == pytest.approx(expected["r_precision"])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_copy_is_found_and_the_query_itself_is_not(metric):
    rows = torch.randn(40, 5)
    twice = table(torch.cat([rows, rows]), torch.cat([torch.arange(40), torch.arange(40)]))
    assert retrieval(twice, ks=(1,), metric=metric)["recall_at_1"] == 1.0
    apart = table(torch.cat([rows, rows]), torch.arange(80) // 2)
    assert retrieval(apart, ks=(1,), metric=metric)["recall_at_1"] < 0.3


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_of_equal_rows_the_lower_comes_first(monkeypatch, metric, small):
    if small:
        monkeypatch.setattr(search, "WIDTH", 16)
    rows = (30.0 + torch.randn(23, 129)).repeat(7, 1)
    copies = table(rows, torch.randint(5, (len(rows),)))
    for equal in (copies, table(torch.ones(6, 3), [0, 1, 1, 2, 0, 2])):
        expected = reference(equal, None, (1, 2, 4), metric)
        assert retrieval(equal, ks=(1, 2, 4), metric=metric) == pytest.approx(expected)


def test_labels_that_differ_in_the_25th_bit_are_different():
    close = table(torch.eye(4), [2**24, 2**24 + 1, 2**24, 2**24 + 1])
    expected = reference(close, None, (1,), "cosine")
    assert retrieval(close, ks=(1,)) == pytest.approx(expected)
    assert expected["r_precision"] == 0.25


def test_rows_without_a_mate_are_left_out():
    few = table([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]], [0, 0, 1])
    found = retrieval(few, ks=(1,))
    assert (found["queries"], found["left_out"]) == (2, 1)
    assert found["recall_at_1"] == found["map_at_r"] == 1.0
    others = table([[1.0, 0.0], [0.0, 1.0]], [1, 7])
    found = retrieval(few, others, ks=(1,))
    assert (found["queries"], found["left_out"], found["recall_at_1"]) == (1, 1, 1.0)


@pytest.mark.parametrize("other", [False, True])
def test_distances_of_labels_match_the_definition(monkeypatch, other):
    monkeypatch.setattr(search, "WIDTH", 7)
    monkeypatch.setattr(search, "TILE", 50)
    values = np.random.default_rng(0).normal(size=(6, 2))
    gallery, query = clusters(40, 6), clusters(25, 6) if other else None
    asked = gallery if query is None else query
    expected = {1: [], 4: []}
    for i, row in enumerate(asked.embeddings.numpy()):
        far = np.linalg.norm(gallery.embeddings.numpy() - row, axis=1)
        order = [j for j in np.argsort(far) if other or j != i]
        shown = values[gallery.labels.numpy()[order]] - values[int(asked.labels[i])]
        for k, found in expected.items():
            found.append(np.linalg.norm(shown[:k], axis=1).mean())
    found = label_distances(gallery, query, label_values=torch.from_numpy(values), ks=[1, 4])
    for k, means in expected.items():
        assert found[f"label_distance_at_{k}"] == pytest.approx(np.mean(means), rel=1e-9)


def test_what_is_held_does_not_grow_with_the_square_of_the_rows(monkeypatch):
    held = []

    def measured(*args, **kwargs):
        held.append(original(*args, **kwargs).numel())
        return original(*args, **kwargs)

    original = search.distances
    monkeypatch.setattr(search, "distances", measured)
    monkeypatch.setattr(search, "TILE", 2**14)
    monkeypatch.setattr(search, "WIDTH", 256)
    retrieval(clusters(1000, 30), ks=(1,))
    retrieval(table(torch.randn(800, 4), torch.arange(800) % 2), ks=(1,))
    assert max(held) <= 2**14


def test_zero_rows_and_large_numbers_have_an_order():
    rows = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1e15, 0.0], [1e15, 1.0]])
    for metric in ("cosine", "euclidean"):
        found = retrieval(table(rows, [0, 0, 1, 1]), ks=(1,), metric=metric)
        assert found["recall_at_1"] == 1.0


@pytest.mark.parametrize(
    ("rows", "labels", "query", "options", "words"),
    [
        (
            torch.eye(3),
            [0, 0, 1],
            None,
            {"ks": (3,)},
            r"ks must be from 1 to 2, the rows to search; got \[3\]",
        ),
        (torch.eye(3), [0, 0, 1], None, {"ks": (0, 1)}, r"ks must be from 1 to .* got \[0, 1\]"),
        (torch.eye(3), [0, 0, 1], None, {"ks": ()}, r"got \[\]"),
        (torch.eye(3), [0, 1, 2], None, {"ks": (1,)}, "no query has another row of its class"),
        (torch.eye(3), [0, -1, 0], None, {"ks": (1,)}, "gallery labels must be at least 0, got -1"),
        (torch.eye(3), [0, 0, 1], ([[1.0, 0.0]], [0]), {"ks": (1,)}, "one dimension, got 3 and 2"),
        (
            torch.eye(3),
            [0, 0, 1],
            ([[1.0, float("nan"), 0.0]], [0]),
            {"ks": (1,)},
            "query row 0 is not finite",
        ),
    ],
)
def test_refuses_what_cannot_be_searched(rows, labels, query, options, words):
    asked = None if query is None else table(*query)
    with pytest.raises(ValueError, match=words):
        retrieval(table(rows, labels), asked, **options)
