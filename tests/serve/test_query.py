"""Results against NumPy: mean, subtraction, filters, and what may be asked."""

import numpy as np
import pytest

from ssl_dml.serve.query import Query, answer, parse_query
from ssl_dml.serve.uploads import pack


def ask(site, like=(), unlike=(), k=10, label=None, folder=None):
    query = Query(like=[*like], unlike=[*unlike], k=k, label=label, folder=folder)
    return answer(site.index, query)


def unit(values):
    values = np.asarray(values, np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def expected(site, like, unlike, k, passes=lambda _: True):
    """Ids and cosines, one row after another."""
    rows = unit(site.index.embeddings(range(60)).numpy())

    def vector(term):
        return rows[term] if isinstance(term, int) else unit(term)

    means = [
        np.mean([vector(t) for t in terms], axis=0) if terms else 0 for terms in (like, unlike)
    ]
    direction = unit(means[0] - 0.5 * means[1])
    asked = {term for term in (*like, *unlike) if isinstance(term, int)}
    found = [
        (float(row @ direction), i)
        for i, row in enumerate(rows)
        if i not in asked and passes(site.index.rows([i])[0])
    ]
    return sorted(found, key=lambda pair: -pair[0])[:k]


OWN = np.array([0.3, -0.1, -0.2], np.float32)


@pytest.mark.parametrize(
    ("like", "unlike"),
    [([3], []), ([OWN], []), ([3, 8, OWN], []), ([3], [9]), ([5, OWN], [40, 2]), ([], [7])],
)
@pytest.mark.parametrize("label", [None, 4])
def test_results_are_those_of_numpy(site, like, unlike, label):
    found = ask(site, like, unlike, label=label)
    wanted = expected(site, like, unlike, 10, lambda row: label in (None, row.label))
    assert np.allclose(found.scores, [score for score, _ in wanted], atol=1e-5)
    assert (
        sorted(found.ids) == sorted(i for _, i in wanted)
        or len(set(np.round(found.scores, 5))) < 10
    )


def test_a_negative_turns_results_away(site):
    near, away = ask(site, [0]), ask(site, [0], [3])
    hues = [np.mean([i for i in found.ids if i < 30]) for found in (near, away)]
    assert hues[1] < hues[0]
    assert 3 not in away.ids


def test_an_image_and_its_negative_do_not_cancel(site):
    found = ask(site, [5], [5])
    assert found.ids[0] in (4, 6)


def test_what_cancels_is_refused(site):
    opposite = -2 * site.index.embeddings([5])[0].numpy()
    with pytest.raises(ValueError, match="cancel each other"):
        ask(site, [5, opposite])
    with pytest.raises(ValueError, match="cancel each other"):
        ask(site, [np.zeros(3, np.float32)])


def test_a_filter_of_folders_counts_those_below(site):
    found = ask(site, [10], k=3, folder="cold")
    wanted = expected(site, [10], [], 3, lambda row: row.path.startswith("cold"))
    assert np.allclose(found.scores, [score for score, _ in wanted], atol=1e-5)
    assert ask(site, [10], folder="nothing").ids == []
    assert ask(site, [10], folder="cold", label=0).ids == []
    assert ask(site, label=9).ids == []


def test_without_images_rows_are_spread_over_the_index(site):
    assert ask(site, k=3).ids == [0, 30, 59]
    assert ask(site, k=2, label=4).ids == [40, 49]
    assert ask(site, k=99).scores is None


def test_more_than_there_is_is_all(site):
    assert len(ask(site, [0], k=200).ids) == 59
    assert len(ask(site, [0], k=200, label=0).ids) == 9


def test_a_question_is_understood():
    text = pack(np.array([1.0, 0.0]))
    terms = [{"id": 1, "sign": 1}, {"embedding": text, "sign": -1}]
    query = parse_query(
        {"terms": terms, "k": 5, "label": 3, "folder": None}, 2, lambda row: row == 1
    )
    assert (query.like, query.k, query.label, query.folder) == ([1], 5, 3, None)
    assert query.unlike[0].tolist() == [1.0, 0.0]
    assert query.ids == [1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "must have terms"),
        ([], "must have terms"),
        ({"terms": 3, "k": 1}, "must have terms"),
        ({"terms": [{"id": 1, "sign": 1}] * 33, "k": 1}, "at most 32"),
        ({"terms": []}, "k must be"),
        ({"terms": [], "k": True}, "k must be"),
        ({"terms": [], "k": 201}, "k must be"),
        ({"terms": [], "k": 1, "folder": 3}, "folder must be text"),
        ({"terms": [], "k": 1, "label": "3"}, "label must be"),
        ({"terms": [], "k": 1, "label": 10**30}, "label must be"),
        ({"terms": [3], "k": 1}, "sign"),
        ({"terms": [{"id": 1}], "k": 1}, "sign"),
        ({"terms": [{"id": 1, "sign": [1]}], "k": 1}, "sign"),
        ({"terms": [{"id": True, "sign": 1}], "k": 1}, "no such row"),
        ({"terms": [{"id": "../../etc/passwd", "sign": 1}], "k": 1}, "no such row"),
        ({"terms": [{"id": 2, "sign": 1}], "k": 1}, "no such row"),
        ({"terms": [{"sign": 1}], "k": 1}, "no such row"),
        ({"terms": [{"embedding": "x", "sign": 1}], "k": 1}, "an embedding"),
    ],
)
def test_what_no_page_asks_is_refused_in_a_sentence(values, words):
    with pytest.raises(ValueError, match=words):
        parse_query(values, 2, lambda row: row == 1)
