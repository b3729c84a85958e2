"""What all miners have in common, and the ranking that they start from."""

import math

import pytest
import torch
from rows import batch
from torch.testing import assert_close
from triples import triples

from ssl_dml.distances import Mahalanobis
from ssl_dml.mining import (
    All,
    BatchHard,
    DistanceWeighted,
    Easy,
    FaceNet,
    Hard,
    MultiSimilarityMiner,
    SemiHard,
)
from ssl_dml.mining.base import rank_negatives
from ssl_dml.types import LabeledEmbeddings

MINERS = {
    "all": All(),
    "hard": Hard(),
    "semi_hard": SemiHard(margin=0.4),
    "easy": Easy(margin=0.4),
    "facenet": FaceNet(),
    "batch_hard": BatchHard(),
    "distance_weighted": DistanceWeighted(),
    "multi_similarity": MultiSimilarityMiner(),
}


def test_ranking_sorts_the_negatives_of_each_anchor():
    rows, labels = batch(classes=3, of_each=3)
    memory = LabeledEmbeddings(torch.randn(4, 5).double(), torch.tensor([0, 1, 5, -1]))
    found = rank_negatives(rows, labels, memory)
    points = rows.tolist() + memory.embeddings.tolist()
    classes = labels.tolist() + memory.labels.tolist()
    for a, label in enumerate(labels.tolist()):
        negatives = [i for i, own in enumerate(classes) if own not in (label, -1)]
        expected = sorted(negatives, key=lambda i, a=a: math.dist(points[a], points[i]))
        assert found.negatives[a] == len(expected)
        assert found.order[a, : len(expected)].tolist() == expected
        far = [math.dist(points[a], points[i]) for i in expected]
        assert_close(found.far[a, : len(expected)].tolist(), far)
    assert not found.far.requires_grad


@pytest.mark.parametrize("miner", [Hard, FaceNet, BatchHard])
def test_mines_by_a_mahalanobis_distance_as_by_mapped_rows(miner):
    rows, labels = batch()
    root = torch.randn(5, 5).double()
    distance = Mahalanobis(kind="given", matrix=root @ root.T)
    assert triples(miner(distance=distance)(rows, labels)) == triples(
        miner(distance="euclidean")(rows @ root, labels)
    )


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [5]])
def test_without_both_kinds_nothing_is_mined(name, labels):
    assert triples(MINERS[name](torch.randn(len(labels), 3), torch.tensor(labels))) == []


@pytest.mark.parametrize("name", MINERS)
def test_an_anchor_without_negatives_within_the_batch_uses_the_memory(name):
    memory = LabeledEmbeddings(torch.tensor([[1.0, 0.2], [1.0, -0.2]]), torch.tensor([1, 1]))
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    found = triples(MINERS[name](rows, torch.tensor([0, 0]), memory))
    assert {n for _, _, n in found} <= {2, 3}
    assert found or name in ("easy", "semi_hard", "distance_weighted")


@pytest.mark.parametrize("name", MINERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_duplicates_in_half_precision(name, dtype):
    found = MINERS[name](torch.ones(6, 4, dtype=dtype), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert (found.high >= found.low).all()
    assert (found.high <= 4).all()
