import math
from itertools import combinations

import pytest
import torch

from ssl_dml.evaluation import open_set
from ssl_dml.tables import EmbeddingTable

MATES = [[0.9, 0.2, 0.1], [0.3, 0.7, 0.5], [0.6, 0.2, 0.55], [0.1, 0.2, 0.4]]
OTHERS = [[0.5, 0.3, 0.2], [0.1, 0.65, 0.2], [0.35, 0.3, 0.25]]


def clusters(rows, classes, spread=0.6):
    labels = torch.randint(classes, (rows,))
    centers = torch.randn(classes, 8, generator=torch.Generator().manual_seed(5))
    values = centers[labels] + spread * torch.randn(rows, 8)
    return EmbeddingTable(embeddings=values, labels=labels)


@pytest.mark.parametrize(
    ("rate", "identified", "threshold"), [(0.34, 0.5, 0.5), (1.0, 0.75, -math.inf)]
)
def test_seven_queries_by_hand(rate, identified, threshold):
    gallery = EmbeddingTable(embeddings=torch.eye(3), labels=torch.arange(3))
    labels = torch.tensor([0, 1, 2, 2, 3, 4, 5])
    queries = EmbeddingTable(embeddings=torch.tensor(MATES + OTHERS), labels=labels)
    found = open_set(gallery, queries, metric="dot", fpirs=[rate, 0.3])
    assert found[f"dir_at_fpir_{rate:g}"] == pytest.approx(identified)
    assert found[f"threshold_at_fpir_{rate:g}"] == pytest.approx(threshold)
    assert found["rank_1"] == 0.75
    assert math.isnan(found["dir_at_fpir_0.3"])  # three queries cannot show it
    low, high = (found[f"dir_at_fpir_{rate:g}_{end}"] for end in ("low", "high"))
    assert 0 <= low <= identified <= high <= 1


def test_rates_are_the_definition():
    gallery, queries = clusters(60, 10), clusters(400, 20)
    found = open_set(gallery, queries, fpirs=[0.1, 0.02])
    unit = [t.embeddings.double() / t.embeddings.double().norm(dim=1, keepdim=True) for t in
            (gallery, queries)]  # fmt: skip
    best, place = (unit[1] @ unit[0].T).max(dim=1)
    known = torch.isin(queries.labels, gallery.labels)
    right = gallery.labels[place] == queries.labels
    others = best[~known].sort(descending=True).values
    for rate in (0.1, 0.02):
        threshold = others[math.floor(rate * len(others))]
        expected = (right & (best > threshold))[known].double().mean().item()
        name = f"dir_at_fpir_{rate:g}"
        assert found[name] == pytest.approx(expected)
        assert found[f"{name}_low"] < expected < found[f"{name}_high"]
    assert found["rank_1"] == pytest.approx(right[known].double().mean().item())
    counts = (60, int(known.sum()), int((~known).sum()))
    assert tuple(found[name] for name in ("enrolled", "known", "unknown")) == counts


def test_a_part_of_the_identities_is_not_enrolled():
    rows = clusters(300, 20)
    found = open_set(rows, fpirs=[0.1], unknown=0.25, seed=4)
    sizes = rows.labels.bincount()
    assert sum(found[name] for name in ("enrolled", "known", "unknown")) == 300
    assert 0.4 < found["enrolled"] / (found["enrolled"] + found["known"]) <= 0.5
    assert found["unknown"] in {float(sum(c)) for c in combinations(sizes.tolist(), 5)}
    assert open_set(rows, fpirs=[0.1], unknown=0.25, seed=4) == found
    assert open_set(rows, fpirs=[0.1], unknown=0.25, seed=5) != found


def test_queries_that_are_all_enrolled_lose_some_identities():
    gallery, queries = clusters(200, 8), clusters(100, 8)
    found = open_set(gallery, queries, fpirs=[0.1])
    assert found["known"] + found["unknown"] == 100
    assert found["enrolled"] < 200
    assert found["unknown"] > 0


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([3, 4], {}, "open_set needs known queries, and there are none"),
        ([0, 3], {"fpirs": [1.5]}, "fpir 1.5 must be above 0 and at most 1"),
        ([0, 3], {"unknown": 1.0}, "unknown must be above 0 and below 1"),
    ],
)
def test_queries_and_rates_that_cannot_be_are_named(labels, options, words):
    gallery = EmbeddingTable(embeddings=torch.eye(2), labels=torch.tensor([0, 1]))
    queries = EmbeddingTable(embeddings=torch.eye(2), labels=torch.tensor(labels))
    with pytest.raises(ValueError, match=words):
        open_set(gallery, queries, **options)
