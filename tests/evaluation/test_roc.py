import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from ssl_dml.evaluation.roc import Roc, best_threshold, by_folds, equal_error

SCORES = [0.91, 0.85, 0.82, 0.74, 0.7, 0.66, 0.61, 0.55, 0.48, 0.4, 0.33, 0.21]
SAME = [1, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0]


def roc_of(scores, same):
    scores, same = torch.as_tensor(scores, dtype=torch.double), torch.as_tensor(same).bool()
    return Roc.of(scores[same], scores[~same])


def drawn(count=3000, step=0.02):
    """Scores, many of them equal."""
    rng = np.random.default_rng(0)
    same = rng.random(count) < 0.3
    return np.round((rng.normal(size=count) + same) / step) * step, same


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0.0, (1 / 3, 0.82, 0.0)),
        (0.2, (2 / 3, 0.66, 1 / 6)),
        (0.34, (5 / 6, 0.55, 1 / 3)),
        (0.5, (1.0, 0.4, 0.5)),
        (1.0, (1.0, -np.inf, 1.0)),
    ],
)
def test_twelve_pairs_by_hand(target, expected):
    roc = roc_of(SCORES, SAME)
    assert roc.at_far(target) == pytest.approx(expected)
    assert roc.auc() == pytest.approx(29 / 36)


@pytest.mark.parametrize("step", [0.02, 0.5])
def test_the_curve_is_that_of_scikit_learn(step):
    scores, same = drawn(step=step)
    roc = roc_of(scores, same)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.points()[0], far, atol=1e-12)
    np.testing.assert_allclose(roc.points()[1], tar, atol=1e-12)
    assert roc.auc() == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    for target in (0.0, 1e-3, 0.0123, 0.3):
        at = roc.at_far(target)
        assert at.tar == pytest.approx(tar[far <= target].max())
        assert (at.tar, at.far) == pytest.approx(
            ((scores[same] > at.threshold).mean(), (scores[~same] > at.threshold).mean())
        )
    eer = np.interp(0.0, far + tar - 1, far)
    assert roc.eer() == pytest.approx(eer, abs=1e-12)


def test_rates_that_no_impostor_can_show_are_known():
    roc = roc_of(np.arange(1010), np.arange(1010) < 10)
    assert [roc.measurable(far) for far in (0.1, 1e-3, 0.999e-3, 1e-6)] == [
        True,
        True,
        False,
        False,
    ]


def test_equal_errors_of_extreme_curves():
    zero_one = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.5, 1.0]]).double()
    tar = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.5, 1.0]]).double()
    assert equal_error(zero_one, tar).tolist() == [0.0, 1.0, 0.5]


def test_three_folds_by_hand():
    squared = [0.3, 0.62, 1.1, 0.95, 0.41, 1.3, 0.9, 1.52, 0.55, 0.78, 1.21, 0.7]
    same = torch.tensor([1, 1, 0, 0] * 3).bool()
    right, thresholds = by_folds(-torch.tensor(squared), same, [0] * 4 + [1] * 4 + [2] * 4)
    assert [part.double().mean() for part in right.split(4)] == [0.75, 0.75, 0.75]
    assert thresholds == pytest.approx([-0.55, -0.62, -0.62])


def test_the_best_threshold_has_the_fewest_errors():
    scores, same = drawn(400, step=0.25)
    errors = {at: ((scores >= at) != same).sum() for at in [*scores, np.inf]}
    least = min(errors.values())
    found = best_threshold(torch.from_numpy(scores), torch.from_numpy(same))
    assert found == max(at for at, count in errors.items() if count == least)
    assert best_threshold(torch.tensor([1.0, 2.0]), torch.tensor([False, False])) == torch.inf


@pytest.mark.parametrize(("genuine", "impostors", "kind"), [(0, 2, "one"), (2, 0, "two")])
def test_pairs_of_one_kind_alone_are_refused(genuine, impostors, kind):
    with pytest.raises(ValueError, match=f"pairs of {kind} identit"):
        Roc.of(torch.rand(genuine), torch.rand(impostors))
