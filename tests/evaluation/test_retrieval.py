import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import average_precision_score

from ssl_dml.evaluation import Rerank, label_distances, retrieval, search
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


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


EVERY = ("recall", "precision", "mrr", "map_at_r", "r_precision", "map", "map_trapezoid")


def test_all_measures_of_eight_rows_on_a_line():
    """Values of pytorch-metric-learning, whose reciprocal rank ends at the second."""
    rows = [[0.0], [1.0], [2.1], [3.3], [4.6], [6.0], [7.5], [9.1]]
    line = table(rows, [0, 0, 1, 0, 1, 1, 2, 2])
    found = retrieval(line, ks=(1, 2), metric="euclidean", measures=EVERY)
    expected = {"precision_at_1": 0.5, "mrr_at_2": 0.625, "map_at_r": 0.34375, "recall_at_2": 0.75}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    found = retrieval(line, ks=(7,), metric="euclidean", measures=["mrr", "precision"])
    ranks = [1, 1, 4, 3, 2, 1, 2, 1]
    assert found["mrr_at_7"] == pytest.approx(sum(1 / rank for rank in ranks) / 8)
    assert found["precision_at_7"] == pytest.approx((6 * 2 + 2 * 1) / 8 / 7)


def market(gallery, query, cameras, others):
    """Rank 1, average precision and that by trapezoids, query by query as Market-1501 has it."""
    found, left_out = [], 0
    for i, row in enumerate(query.embeddings.double().numpy()):
        rows = gallery.embeddings.double().numpy()
        scores = rows @ row / np.linalg.norm(rows, axis=1)
        same = gallery.labels.numpy() == int(query.labels[i])
        kept = ~(same & (np.array(cameras) == others[i]))
        if not (same & kept).any():
            left_out += 1
            continue
        right = same[kept][np.argsort(-scores[kept], kind="stable")]
        area, recall, precision = 0.0, 0.0, 1.0
        for rank in range(len(right)):
            new = right[: rank + 1].sum() / right.sum()
            at = right[: rank + 1].mean()
            area += (new - recall) * (precision + at) / 2
            recall, precision = new, at
        found.append([right[0], average_precision_score(same[kept], scores[kept]), area])
    return [*np.mean(found, axis=0), left_out]


def test_an_identity_on_its_own_camera_is_left_out():
    gallery, query = clusters(120, 9), clusters(30, 11)
    cameras = [torch.randint(4, (len(each.labels),)).tolist() for each in (gallery, query)]
    given = [
        EmbeddingTable(embeddings=each.embeddings, labels=each.labels, columns={"camera": values})
        for each, values in zip((gallery, query), cameras, strict=True)
    ]
    found = retrieval(
        *given,
        ks=(1,),
        across="camera",
        leave_out="value_of_class",
        measures=["recall", "map", "map_trapezoid"],
    )
    names = ["recall_at_1", "map", "map_trapezoid", "left_out"]
    assert [found[name] for name in names] == pytest.approx(market(gallery, query, *cameras))


def test_a_query_searches_on_other_cameras_alone():
    rows = clusters(80, 5)
    sides = ["left", "right", None]
    cameras = [sides[int(i)] for i in torch.randint(3, (80,))]
    given = EmbeddingTable(
        embeddings=rows.embeddings, labels=rows.labels, columns={"camera": cameras}
    )
    found = retrieval(given, ks=(1, 5), across="camera", only="left")
    left = torch.tensor([camera == "left" for camera in cameras])
    parts = [table(rows.embeddings[own], rows.labels[own]) for own in (~left, left)]
    assert found == pytest.approx(reference(*parts, (1, 5), "cosine"))
    whole = retrieval(given, ks=(1, 5), across="camera")
    assert whole["queries"] + whole["left_out"] == 80
    assert whole != retrieval(given, ks=(1, 5))


def test_intervals_are_over_classes():
    rows = clusters(150, 12)
    found = retrieval(rows, ks=(1,), measures=["recall"], confidence=0.9)
    unit = rows.embeddings / rows.embeddings.norm(dim=1, keepdim=True)
    near = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    counted = torch.bincount(rows.labels)[rows.labels] > 1
    right = (rows.labels[near] == rows.labels)[counted].double()
    expected = interval(right, rows.labels[counted], confidence=0.9)
    ends = [found[f"recall_at_1{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx(list(expected), abs=1e-12)
    assert ends[1] < ends[0] < ends[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"across": "kamera"}, "have no column 'kamera', only camera"),
        ({"only": "a"}, "only 'a' needs across"),
        ({"across": "camera", "only": 7}, "no query has 7 in its column camera"),
        ({"rerank": Rerank(), "metric": "dot"}, "which dot is not"),
        ({"rerank": Rerank(k1=40)}, r"rerank.k1 must be from 1 to 3, got 40"),
    ],
)
def test_conditions_and_orders_that_cannot_be_are_named(options, words):
    few = EmbeddingTable(
        embeddings=torch.eye(4), labels=torch.tensor([0, 0, 1, 1]), columns={"camera": [*"abab"]}
    )
    with pytest.raises((ConfigError, ValueError), match=words):
        retrieval(few, ks=(1,), **options)
