import numpy as np
import pytest
import torch

from ssl_dml.evaluation import all_pairs
from ssl_dml.evaluation.all_pairs import AllPairs
from ssl_dml.evaluation.pair_counts import groups_of
from ssl_dml.evaluation.scoring import Scoring
from ssl_dml.tables import EmbeddingTable


def drawn(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(12, (rows,), generator=generator)
    centers = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    values = centers[labels] + torch.randn(rows, 6, generator=generator)
    return EmbeddingTable(embeddings=values, labels=labels)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_each_pair_is_counted_once_at_its_rounded_score(monkeypatch, metric, other):
    monkeypatch.setattr(all_pairs, "BINS", 512)
    monkeypatch.setattr(all_pairs, "SIDES", (13, 9))
    one, two = drawn(90, 1), drawn(50, 2) if other else None
    tables = [one] if two is None else [one, two]
    groups, count = groups_of(torch.cat([table.labels for table in tables]))
    sides = groups.split([len(table.labels) for table in tables])
    scoring = Scoring([table.embeddings for table in tables], metric)
    roc, counts = AllPairs(
        scoring=scoring, one=one, two=two, groups=(sides[0], sides[-1]), count=count
    ).counted()

    second = one if two is None else two
    a, b = (table.embeddings.double().numpy() for table in (one, second))
    if metric == "cosine":
        a, b = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (a, b))
        scores = a @ b.T
    else:
        scores = -np.linalg.norm(a[:, None] - b, axis=2)
    same = (one.labels[:, None] == second.labels).numpy()
    kept = np.ones_like(same) if other else np.triu(np.ones_like(same), 1)
    width = (scoring.high - scoring.low) / 512
    for found, wanted in ((roc.genuine, same & kept), (roc.impostors, ~same & kept)):
        assert int(found.sum()) == wanted.sum()
        rounded = np.repeat(roc.scores.numpy(), found.numpy())
        difference = rounded - np.sort(scores[wanted])
        assert difference.min() > -1e-5
        assert difference.max() < width + 1e-5
    assert counts.genuine.sum(dim=0)[0] == int((same & kept).sum())
    assert counts.impostors.sum(dim=(0, 1))[0] == int((~same & kept).sum())
    assert (counts.impostors.diff(dim=2) <= 0).all()
