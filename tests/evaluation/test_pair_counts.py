import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from ssl_dml.evaluation import pair_counts
from ssl_dml.evaluation.pair_counts import count_listed, drawn_weights, edges_of, groups_of
from ssl_dml.evaluation.pairs import PairList

FARS = (0.3, 0.05)


def listed(identities=12, each=6, seed=0):
    """All pairs of drawn rows, and their scores."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(identities), each)
    rows = rng.normal(size=(identities, 4))[labels] + rng.normal(size=(len(labels), 4))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    one, two = np.triu_indices(len(rows), 1)
    scores = torch.from_numpy((rows[one] * rows[two]).sum(axis=1))
    same = torch.from_numpy(labels[one] == labels[two])
    pairs = PairList(first=torch.from_numpy(one), second=torch.from_numpy(two), same=same)
    return scores, pairs, torch.from_numpy(labels)


def test_draws_are_those_of_weighted_pairs():
    """Each draw by scikit-learn, with the number of times that both identities were drawn."""
    scores, pairs, labels = listed()
    groups, count = groups_of(labels)
    found = count_listed(scores, pairs, groups, count).intervals(
        FARS, confidence=0.8, draws=15, seed=5
    )
    draws = {name: [] for name in ("auc", "eer", *FARS)}
    for weights in drawn_weights(count, 15, 5):
        one, two = weights[groups[pairs.first]], weights[groups[pairs.second]]
        often = torch.where(pairs.same, one, one * two).numpy()
        draws["auc"].append(roc_auc_score(pairs.same, scores, sample_weight=often))
        far, tar, _ = roc_curve(pairs.same, scores, sample_weight=often, drop_intermediate=False)
        draws["eer"].append(np.interp(0.0, far + tar - 1, far))
        for target in FARS:
            draws[target].append(tar[far <= target].max())
    wider = stats.norm.cdf(stats.t.ppf(0.9, count - 1) * (count / (count - 1)) ** 0.5)
    for name, values in draws.items():
        tolerance = 0.01 if name == "eer" else 1e-9  # which is between points of the curve
        expected = tuple(np.quantile(values, [1 - wider, wider]))
        assert found[name] == pytest.approx(expected, abs=tolerance)


def test_more_identities_than_groups_share_groups(monkeypatch):
    labels = torch.arange(500).repeat(3)
    groups, count = groups_of(labels, seed=2)
    assert count == 64
    assert torch.equal(groups[:500], groups[500:1000])
    sizes = torch.bincount(groups)
    assert sizes.max() - sizes.min() <= 3
    assert torch.equal(groups_of(labels + 7, seed=2)[0], groups)
    monkeypatch.setattr(pair_counts, "GROUPS", 5)
    scores, pairs, own = listed(identities=40)
    groups, count = groups_of(own)
    low, high = count_listed(scores, pairs, groups, count).intervals(FARS, confidence=0.95)["auc"]
    assert low < roc_auc_score(pairs.same, scores) < high


def test_edges_are_dense_among_the_highest_scores(monkeypatch):
    monkeypatch.setattr(pair_counts, "EDGES", 20)
    edges = edges_of(torch.arange(1000.0).flip(0))
    assert edges[[0, 1]].tolist() == [-torch.inf, 0.0]
    assert edges[-4:].tolist() == [990.0, 995.0, 998.0, 999.0]
    assert len(edges) <= 21
    assert edges.diff()[1:].max() <= 1000 / 9
    assert edges_of(torch.ones(4)).tolist() == [-torch.inf, 1.0]


@pytest.mark.slow
def test_the_interval_covers_in_nineteen_of_twenty_draws_of_identities():
    truth = np.mean([_auc(*listed(60, 5, seed)) for seed in range(1000, 1100)])
    covered = 0
    for seed in range(300):
        scores, pairs, labels = listed(60, 5, seed)
        groups, count = groups_of(labels)
        low, high = count_listed(scores, pairs, groups, count).intervals((), confidence=0.95)["auc"]
        covered += low <= truth <= high
    assert 0.9 <= covered / 300 <= 0.985


def _auc(scores, pairs, _):
    return roc_auc_score(pairs.same, scores)
