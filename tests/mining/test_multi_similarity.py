"""The multi-similarity miner beside a loop over all triplets."""

import torch
from rows import batch
from triples import triples

from ssl_dml.mining import MultiSimilarityMiner


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
