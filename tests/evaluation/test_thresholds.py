"""Bounds against scipy, the variance against its definition, and promises against what is known."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import betainc
from scipy.stats import beta, binom, binomtest, norm
from scipy.stats import t as student

from ssl_dml.evaluation.identity_pairs import EDGES, IdentityPairs, Rates
from ssl_dml.evaluation.thresholds import (
    TooFewIdentitiesError,
    binomial_interval,
    effective_pairs,
    far_interval,
    far_threshold,
    refusal,
    upper,
    variance,
)
from ssl_dml.tables import EmbeddingTable


def rates_of(shares):
    """Rates of a symmetric matrix of shares."""
    count = len(shares)
    pairs = shares[np.triu_indices(count, 1)]
    return Rates(pairs.mean(), (pairs**2).mean(), shares.sum(1) / (count - 1), np.empty(0))


def drawn(count, generator, p=0.2, spread=0.0):
    easy = generator.random(count) * spread
    chance = np.clip(p + easy[:, None] + easy, 0, 1)
    found = np.triu(generator.random((count, count)) < chance, 1).astype(float)
    return found + found.T


def test_variance_is_that_of_its_definition():
    pairs, above = [*combinations(range(9), 2)], 0
    for seed in range(10):
        shares = drawn(9, np.random.default_rng(seed), spread=0.9)
        rates = rates_of(shares)
        apart = [shares[a] * shares[b] for a in pairs for b in pairs if not {*a} & {*b}]
        least = (rates.square - rates.share**2) / 36
        expected = max(rates.share**2 - np.mean(apart), least)
        assert variance(rates) == pytest.approx(expected)
        above += expected > least
    assert above


def test_variance_is_right_on_average():
    generator = np.random.default_rng(1)
    found = [rates_of(drawn(30, generator, 0.1, 0.5)) for _ in range(600)]
    assert np.mean([*map(variance, found)]) == pytest.approx(
        np.var([one.share for one in found]), rel=0.15
    )


def test_independent_pairs_count_as_many():
    counts = []
    for seed in range(20):
        rates = rates_of(drawn(40, np.random.default_rng(seed)))
        counts.append(rates.share * (1 - rates.share) / variance(rates))
    assert np.median(counts) == pytest.approx(780, rel=0.2)


def test_what_one_identity_does_to_all_leaves_few():
    shares = drawn(40, np.random.default_rng(0), 0.02)
    shares[0, 1:] = shares[1:, 0] = 1.0
    rates = rates_of(shares)
    assert effective_pairs(rates, 0.95) < 40  # of 780
    assert effective_pairs(rates, 0.95, unseen=1.0) < effective_pairs(rates, 0.95)
    assert effective_pairs(rates, 0.95, side=-1) > effective_pairs(rates, 0.95)


def test_few_identities_count_as_fewer_pairs_by_the_exact_factor():
    shares = np.kron([[0.0, 1.0], [1.0, 0.0]], np.ones((5, 5)))  # every identity has the same rate
    rates = rates_of(shares)
    found = effective_pairs(rates, 0.975) / (rates.share * (1 - rates.share) / variance(rates))
    assert found == pytest.approx((norm.ppf(0.975) / student.ppf(0.975, 9)) ** 2)


@pytest.mark.parametrize(("hits", "count"), [(0, 50), (3, 200), (40, 80)])
def test_binomial_intervals_are_those_of_scipy(hits, count):
    found = binomtest(hits, count).proportion_ci(0.95, method="exact")
    assert tuple(binomial_interval(hits / count, float(count))[1:]) == pytest.approx(tuple(found))


def test_without_an_acceptance_the_bound_is_that_of_none():
    nothing = Rates(0.0, 0.0, np.zeros(20), np.empty(0))
    assert far_interval(nothing, without=100.0) == (0.0, 0.0, upper(0.0, 100.0, 0.975))


def test_the_interval_is_far_wider_than_the_binomial_where_some_collide_with_many():
    rates = rates_of(drawn(60, np.random.default_rng(2), 0.02, 0.5))
    low, high = far_interval(rates)[1:]
    first, last = binomial_interval(rates.share, 60 * 59 / 2)[1:]
    assert high - low > 2 * (last - first)
    assert low < rates.share < high


def test_refusal_lets_as_many_pass_as_a_binomial_allows():
    scores = np.random.default_rng(0).permutation(np.linspace(0.1, 0.9, 200))
    found = refusal(scores, fpir=0.1, confidence=0.9)
    passing = int((scores.astype(np.float32) >= found).sum())
    assert binom.cdf(passing, 200, 0.1) <= 0.1 < binom.cdf(passing + 1, 200, 0.1)
    assert beta.ppf(0.9, passing + 1, 200 - passing) <= 0.1


def test_refusal_says_how_many_are_needed():
    assert refusal(np.ones(59), fpir=0.05) > 1
    with pytest.raises(TooFewIdentitiesError, match=r"58 unknown identities .* 59 are needed"):
        refusal(np.ones(58), fpir=0.05)


def uniform(count, generator, dim=12):
    rows = torch.from_numpy(generator.normal(size=(count, dim)).astype(np.float32))
    return EmbeddingTable(embeddings=rows, labels=torch.arange(count))


def uniform_far(cosine, dim=12):
    """Share of pairs of uniform unit vectors above a cosine."""
    tail = betainc((dim - 1) / 2, 0.5, 1 - cosine**2) / 2
    return tail if cosine >= 0 else 1 - tail


def tail_of(pairs):
    other = pairs.histograms().other.sum((0, 1))
    return other[::-1].cumsum()[::-1] / other.sum()


def promised(draws, count, far):
    generator = np.random.default_rng(0)
    at = EDGES[np.argmax([uniform_far(edge) <= far for edge in EDGES])]
    kept = covered = 0
    for _ in range(draws):
        pairs = IdentityPairs(uniform(count, generator), folds=2)
        kept += uniform_far(far_threshold(pairs, tail_of(pairs), far=far)[0]) <= far
        low, high = far_interval(pairs.rates(at))[1:]
        covered += low <= uniform_far(at) <= high
    return kept / draws, covered / draws


def test_the_promise_holds_where_the_rate_is_known():
    kept, covered = promised(25, 60, 0.05)
    assert kept >= 0.9
    assert covered >= 0.85


@pytest.mark.slow
def test_the_promise_holds_in_many_draws():
    kept, covered = promised(500, 100, 0.01)
    assert kept >= 0.95
    assert 0.93 <= covered <= 0.98


def test_too_few_identities_are_told_with_how_many_are_needed():
    pairs = IdentityPairs(uniform(60, np.random.default_rng(0)))
    tail = tail_of(pairs)
    with pytest.raises(TooFewIdentitiesError, match="60 identities are too few for --far 1e-05"):
        far_threshold(pairs, tail, far=1e-5)
    with pytest.raises(TooFewIdentitiesError, match=r"for --far 0\.001: about") as told:
        far_threshold(pairs, tail, far=1e-3)
    needed = int(str(told.value).split("about ")[1].split()[0].replace(",", ""))
    pairs = IdentityPairs(uniform(2 * needed, np.random.default_rng(1)))
    assert far_threshold(pairs, tail_of(pairs), far=1e-3)[0] < 1


def test_identities_that_are_copies_have_no_threshold():
    same = EmbeddingTable(embeddings=torch.ones(20, 3), labels=torch.arange(20))
    pairs = IdentityPairs(same)
    with pytest.raises(TooFewIdentitiesError, match="as similar as can be"):
        far_threshold(pairs, tail_of(pairs), far=0.01)
