"""Probabilities against scikit-learn on single pairs, and against a population that is known."""

import builtins
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from ssl_dml.evaluation import calibration
from ssl_dml.evaluation.calibration import CENTERS, FITS, calibrate
from ssl_dml.evaluation.identity_pairs import BINS, Histograms, IdentityPairs
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


def logistic(folds=4, slope=9.0, middle=0.3):
    """Histograms of which the probability of being the same is a sigmoid."""
    centers = np.linspace(-1, 1, BINS)
    truth = 1 / (1 + np.exp(-slope * (centers - middle)))
    density = np.exp(-4 * (centers - 0.3) ** 2)
    same, other = density * truth, density * (1 - truth)
    shift = np.log(same.sum() / other.sum())
    pairs = np.zeros((folds, folds, BINS))
    for a in range(folds):
        for b in range(a, folds):
            pairs[a, b] = other
    return Histograms(np.stack([same] * folds), pairs), slope, middle, shift


def test_both_fits_find_a_sigmoid():
    found, slope, middle, shift = logistic()
    for fit in FITS.values():
        same = found.same.sum(0).reshape(-1, 8).sum(1)
        other = found.other.sum((0, 1)).reshape(-1, 8).sum(1)
        at = np.linspace(-0.5, 0.9, 15)
        expected = 1 / (1 + np.exp(-slope * (at - middle) + shift))
        assert np.interp(at, *fit(same, other)) == pytest.approx(expected, abs=0.01)
    curve = calibrate(found, identities=1000)
    assert curve.ece < 0.003
    assert (np.diff(curve.same) >= 0).all()
    assert curve.same.min() >= 1 / 1002


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24).repeat_interleave(3)
    centers = torch.randn(24, 6, generator=generator)
    rows = centers[labels] + 0.8 * torch.randn(72, 6, generator=generator)
    table = EmbeddingTable(embeddings=rows, labels=labels)
    return table, IdentityPairs(table, folds=3)


def test_isotonic_is_that_of_single_pairs(pairs):
    table, all_pairs = pairs
    unit = table.embeddings / table.embeddings.norm(dim=1, keepdim=True)
    cosines, same = [], []
    for a, b in combinations(range(72), 2):
        cosines.append(float(unit[a] @ unit[b]))
        same.append(table.labels[a] == table.labels[b])
    same, cosines = np.array(same), np.array(cosines)
    weights = np.where(same, 1 / same.sum(), 1 / (~same).sum())
    expected = IsotonicRegression(out_of_bounds="clip").fit(cosines, same, sample_weight=weights)
    found = all_pairs.histograms()
    own = FITS["isotonic"](
        found.same.sum(0).reshape(-1, 8).sum(1), found.other.sum((0, 1)).reshape(-1, 8).sum(1)
    )
    at = np.linspace(-0.8, 0.95, 30)
    assert np.abs(np.interp(at, *own) - expected.predict(at)).mean() < 0.01


def test_the_error_is_that_of_folds_left_out(pairs, monkeypatch):
    _, all_pairs = pairs
    found = all_pairs.histograms()
    # One curve for all folds: the error is that of its definition over all pairs within folds.
    monkeypatch.setattr(calibration, "FITS", {"platt": lambda *_: (CENTERS, (CENTERS + 1) / 2)})
    ps, ys = [], []
    for fold in range(3):
        for y, bins in ((1, found.same[fold]), (0, found.other[fold, fold])):
            own = bins.reshape(-1, 8).sum(1)
            times = np.rint(own / own.sum() * 50_000).astype(int)
            ps.append(np.repeat((CENTERS + 1) / 2, times))
            ys.append(np.full(times.sum(), y))
    p, y, expected = np.concatenate(ps), np.concatenate(ys), 0.0
    for first in np.arange(15) / 15:
        own = (first <= p) & (p < first + 1 / 15)
        if own.any():
            expected += own.mean() * abs(p[own].mean() - y[own].mean())
    assert calibrate(found, identities=24).ece == pytest.approx(expected, abs=2e-3)


def test_one_fold_is_not_enough():
    with pytest.raises(ValueError, match="two folds"):
        calibrate(Histograms(np.zeros((2, BINS)), np.zeros((2, 2, BINS))), identities=3)


def test_what_says_nothing_is_even():
    flat = np.ones(BINS)
    cosines, same = FITS["platt"](flat[::8], flat[::8])
    assert np.interp(0.9, cosines, same) == pytest.approx(0.5, abs=1e-3)


def test_scikit_learn_is_named_where_it_is_missing(monkeypatch):
    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    found = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"scikit-learn: pip install 'ssl_dml\[threshold\]'"):
        FITS["platt"](np.ones(4096), np.ones(4096))
