"""Pairs of identities against loops over all pairs of rows."""

from itertools import combinations

import numpy as np
import pytest
import torch

from ssl_dml.evaluation import identity_pairs
from ssl_dml.evaluation.identity_pairs import BINS, EDGES, IdentityPairs
from ssl_dml.tables import EmbeddingTable

COUNTS = (3, 1, 2, 4, 2, 1, 5)


@pytest.fixture
def table():
    generator = torch.Generator().manual_seed(3)
    labels = torch.tensor([7 * i for i, count in enumerate(COUNTS) for _ in range(count)])
    order = torch.randperm(len(labels), generator=generator)
    centers = torch.randn(50, 4, generator=generator)
    rows = centers[labels] + 0.5 * torch.randn(len(labels), 4, generator=generator)
    return EmbeddingTable(embeddings=rows[order], labels=labels[order])


def shares(table, cosine):
    """Share of accepted pairs of each identity with itself, and with each other one."""
    unit = table.embeddings / table.embeddings.norm(dim=1, keepdim=True)
    rows = {i: unit[table.labels == i] for i in table.labels.unique().tolist()}
    own = {}
    for i, samples in rows.items():
        pairs = [float(a @ b) >= cosine for a, b in combinations(samples, 2)]
        if pairs:
            own[i] = sum(pairs) / len(pairs)
    other = {
        (i, j): np.mean([float(a @ b) >= cosine for a in rows[i] for b in rows[j]])
        for i, j in combinations(rows, 2)
    }
    return own, other


@pytest.mark.parametrize("cosine", [-0.9, 0.2, 0.7])
@pytest.mark.parametrize("tile", [1, 6, 1024])
def test_rates_are_those_of_loops_over_pairs(table, cosine, tile, monkeypatch):
    monkeypatch.setattr(identity_pairs, "TILE", tile)
    own, other = shares(table, cosine)
    found = IdentityPairs(table, seed=tile).rates(cosine)
    assert found.share == pytest.approx(np.mean([*other.values()]))
    assert found.square == pytest.approx(np.mean([value**2 for value in other.values()]))
    of = [sum(v for pair, v in other.items() if i in pair) / 6 for i in range(0, 49, 7)]
    assert sorted(found.of) == pytest.approx(sorted(of))
    assert sorted(found.own) == pytest.approx(sorted(own.values()))


@pytest.mark.parametrize("tile", [1, 1024])
def test_histograms_are_those_of_loops_over_pairs(table, tile, monkeypatch):
    monkeypatch.setattr(identity_pairs, "TILE", tile)
    pairs = IdentityPairs(table, folds=3)
    found = pairs.histograms()
    assert found.same.shape == (3, BINS)
    assert found.same.sum() == pytest.approx(5)  # two have one sample
    assert found.other.sum() == pytest.approx(21)
    for cosine in (-0.5, 0.25, 0.75):
        own, other = shares(table, cosine)
        above = EDGES[:-1] >= cosine
        assert found.other[..., above].sum() == pytest.approx(sum(other.values()))
        assert found.same[..., above].sum() == pytest.approx(sum(own.values()))
    assert not np.tril(found.other.sum(2), -1).any()


def test_pairs_of_samples_are_counted(table):
    rows = len(table.labels)
    expected = rows * (rows - 1) / 2 - sum(count * (count - 1) / 2 for count in COUNTS)
    assert IdentityPairs(table).sample_pairs == expected


def test_of_many_samples_some_are_drawn(table, monkeypatch):
    monkeypatch.setattr(identity_pairs, "MOST", 2)
    pairs = IdentityPairs(table, seed=1)
    assert pairs.sample_pairs == 12 * 11 / 2 - 5
    assert pairs.identities == len(COUNTS)
