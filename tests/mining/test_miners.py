"""Every miner beside a loop over all triplets."""

import itertools
import math

import pytest
import torch
from rows import batch, small
from torch.testing import assert_close

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
from ssl_dml.types import LabeledEmbeddings

MARGIN = 0.4


def triples(found):
    """The triplets a miner's ranges stand for."""
    order, *pairs = (part.tolist() for part in found)
    return sorted(
        (a, p, order[a][k])
        for a, p, low, high in zip(*pairs, strict=True)
        for k in range(low, high)
    )


def measured(rows, labels, memory=None):
    """Distances, and which of all triplets there are."""
    references = rows if memory is None else torch.cat([rows, memory.embeddings])
    classes = labels if memory is None else torch.cat([labels, memory.labels])
    points, y = references.tolist(), classes.tolist()
    d = [[math.dist(points[a], points[i]) for i in range(len(points))] for a in range(len(rows))]
    every = [
        (a, p, n)
        for a in range(len(rows))
        for p, n in itertools.permutations(range(len(points)), 2)
        if p != a and y[a] == y[p] and y[a] != y[n]
    ]
    return d, every


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


def band(keep):
    return lambda d, every: [t for t in every if keep(d[t[0]][t[2]] - d[t[0]][t[1]])]


CASES = {
    "all": (All(), band(lambda _: True)),
    "hard": (Hard(), band(lambda gap: gap <= 0)),
    "semi_hard": (SemiHard(margin=MARGIN), band(lambda gap: 0 < gap <= MARGIN)),
    "easy": (Easy(margin=MARGIN), band(lambda gap: gap > MARGIN)),
    "facenet": (FaceNet(), facenet),
    "batch_hard": (BatchHard(), batch_hard),
}
MINERS = {
    **{name: miner for name, (miner, _) in CASES.items()},
    "distance_weighted": DistanceWeighted(),
    "multi_similarity": MultiSimilarityMiner(),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("beside", [0, 5])
@pytest.mark.parametrize("seed", range(3))
def test_matches_definition(name, beside, seed):
    torch.manual_seed(seed)
    rows, labels = batch(classes=3, of_each=3)
    memory = (
        LabeledEmbeddings(torch.randn(beside, 5).double(), torch.arange(beside) % 4)
        if beside
        else None
    )
    miner, expected = CASES[name]
    assert triples(miner(rows, labels, memory)) == sorted(expected(*measured(rows, labels, memory)))


def test_triplets_computed_elsewhere():
    rows, labels = small()
    assert triples(Hard()(rows, labels)) == [(2, 3, 5), (5, 4, 2)]
    assert len(triples(SemiHard(margin=0.5)(rows, labels))) == 10
    assert len(triples(Easy(margin=0.5)(rows, labels))) == 12
    expected = [(0, 1, 4), (1, 0, 4), (2, 3, 0), (3, 2, 0), (4, 5, 1), (5, 4, 1)]
    assert triples(FaceNet()(rows, labels)) == expected


def test_multi_similarity_keeps_what_is_hard_beside_the_other_kind():
    rows, labels = batch(classes=4)
    unit = torch.nn.functional.normalize(rows.detach(), dim=1)
    cosines, y = (unit @ unit.T).tolist(), labels.tolist()
    expected = []
    for a in range(len(y)):
        positives = [i for i in range(len(y)) if i != a and y[i] == y[a]]
        negatives = [i for i in range(len(y)) if y[i] != y[a]]
        most = max(cosines[a][n] for n in negatives)
        least = min(cosines[a][p] for p in positives)
        expected += [
            (a, p, n)
            for p in positives
            if cosines[a][p] - 0.1 < most
            for n in negatives
            if cosines[a][n] + 0.1 > least
        ]
    assert triples(MultiSimilarityMiner()(rows, labels)) == sorted(expected)


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
    for _ in range(4000):
        drawn = [n for a, _, n in triples(miner(rows, labels)) if a == 0]
        counts[drawn] += 1
    near = far.clamp(min=0.5).double()
    weights = near ** (2 - dim) * (1 - near**2 / 4) ** ((3 - dim) / 2)
    weights[far >= 1.4] = 0
    expected = 4000 * weights / weights.sum()
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


def test_distances_may_be_others():
    rows, labels = batch()
    plain, squared = (FaceNet(distance=kind)(rows, labels) for kind in ("euclidean", "squared"))
    assert_close(triples(plain), triples(squared))


def test_errors():
    with pytest.raises(ValueError, match="margin must be at least 0, got -1"):
        SemiHard(margin=-1.0)
    with pytest.raises(ValueError, match="margin must be at least 0, got -1"):
        Easy(margin=-1.0)
    with pytest.raises(ValueError, match=r"cutoff must be above 0 .*, got 2.0 and 1.4"):
        DistanceWeighted(cutoff=2.0)
