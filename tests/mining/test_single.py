"""Miners of one negative for each positive beside their definitions."""

import pytest
import torch
from rows import batch, small
from torch.testing import assert_close
from triples import assert_definition, triples

from ssl_dml.mining import BatchHard, DistanceWeighted, FaceNet


def facenet(d, every):
    """The rule of the paper, with the farthest negative where none is behind the positive."""
    chosen = []
    for a, p in sorted({(a, p) for a, p, _ in every}):
        negatives = [n for b, q, n in every if (b, q) == (a, p)]
        behind = [n for n in negatives if d[a][n] > d[a][p]]
        pick = min if behind else max
        chosen.append((a, p, pick(behind or negatives, key=lambda n, a=a: d[a][n])))
    return chosen


def batch_hard(d, every):
    chosen = []
    for a in sorted({a for a, _, _ in every}):
        positive = max({p for b, p, _ in every if b == a}, key=lambda p, a=a: d[a][p])
        negative = min({n for b, _, n in every if b == a}, key=lambda n, a=a: d[a][n])
        chosen.append((a, positive, negative))
    return chosen


CASES = {"facenet": (FaceNet(), facenet), "batch_hard": (BatchHard(), batch_hard)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("beside", [0, 5])
@pytest.mark.parametrize("seed", range(3))
def test_matches_definition(name, beside, seed):
    assert_definition(*CASES[name], beside, seed)


def test_triplets_computed_elsewhere():
    rows, labels = small()
    expected = [(0, 1, 4), (1, 0, 4), (2, 3, 0), (3, 2, 0), (4, 5, 1), (5, 4, 1)]
    assert triples(FaceNet()(rows, labels)) == expected


def test_distance_weighted_draws_by_the_inverse_density():
    """One anchor, one positive, and negatives at chosen distances; drawn many times."""
    dim, far = 8, torch.tensor([0.3, 0.6, 0.9, 1.2, 1.39, 1.5])
    angle = 2 * torch.asin(far / 2)
    rows = torch.zeros(8, dim).double()
    rows[:2, 0] = 1
    rows[2:, 0], rows[2:, 1] = angle.cos().double(), angle.sin().double()
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    miner = DistanceWeighted()
    counts = torch.zeros(8)
    for _ in range(1500):
        drawn = [n for a, _, n in triples(miner(rows, labels)) if a == 0]
        counts[drawn] += 1
    near = far.clamp(min=0.5).double()
    weights = near ** (2 - dim) * (1 - near**2 / 4) ** ((3 - dim) / 2)
    weights[far >= 1.4] = 0
    expected = 1500 * weights / weights.sum()
    spread = (counts[2:] - expected).abs() / expected.clamp(min=1).sqrt()
    assert spread.max() < 4
    assert counts[7] == 0


def test_distance_weighted_repeats_its_draws_from_its_step():
    rows, labels = batch()
    first, second = DistanceWeighted(), DistanceWeighted()
    once = [triples(first(rows, labels)) for _ in range(3)]
    assert once[0] != once[1]
    second.load_state_dict({"step": torch.tensor(2)})
    assert triples(second(rows, labels)) == once[2]
    assert triples(DistanceWeighted(seed=1)(rows, labels)) != once[0]


def test_distances_may_be_others():
    rows, labels = batch()
    plain, squared = (FaceNet(distance=kind)(rows, labels) for kind in ("euclidean", "squared"))
    assert_close(triples(plain), triples(squared))


def test_errors():
    with pytest.raises(ValueError, match=r"cutoff must be above 0 .*, got 2.0 and 1.4"):
        DistanceWeighted(cutoff=2.0)
