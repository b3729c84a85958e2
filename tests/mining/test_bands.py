"""Miners of bands beside a loop over all triplets."""

import pytest
from rows import small
from triples import assert_definition, triples

from ssl_dml.mining import All, Easy, Hard, SemiHard

MARGIN = 0.4


def band(keep):
    return lambda d, every: [t for t in every if keep(d[t[0]][t[2]] - d[t[0]][t[1]])]


CASES = {
    "all": (All(), band(lambda _: True)),
    "hard": (Hard(), band(lambda gap: gap <= 0)),
    "semi_hard": (SemiHard(margin=MARGIN), band(lambda gap: 0 < gap <= MARGIN)),
    "easy": (Easy(margin=MARGIN), band(lambda gap: gap > MARGIN)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("beside", [0, 5])
@pytest.mark.parametrize("seed", range(3))
def test_matches_definition(name, beside, seed):
    assert_definition(*CASES[name], beside, seed)


def test_triplets_computed_elsewhere():
    rows, labels = small()
    assert triples(Hard()(rows, labels)) == [(2, 3, 5), (5, 4, 2)]
    assert len(triples(SemiHard(margin=0.5)(rows, labels))) == 10
    assert len(triples(Easy(margin=0.5)(rows, labels))) == 12


@pytest.mark.parametrize("miner", [SemiHard, Easy])
def test_errors(miner):
    with pytest.raises(ValueError, match="margin must be at least 0, got -1"):
        miner(margin=-1.0)
