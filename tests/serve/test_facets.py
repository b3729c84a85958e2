"""Classes and folders to filter by."""

import pytest
import torch

from ssl_dml.serve import facets as module
from ssl_dml.serve.facets import Facets, class_of


class Row:
    def __init__(self, id, path, label=-1, class_name=None):
        self.id, self.path, self.label, self.class_name = id, path, label, class_name


ROWS = {
    row.id: row
    for row in (
        Row(3, "a/b/x.png", 0, "cat"),
        Row(9, "a/y.png", 1, "dog"),
        Row(4, "a/b/z.png", 1, "dog"),
        Row(20, "top.png"),
        Row(21, "ab/q.png", 7),
    )
}


@pytest.fixture
def facets(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    return Facets(torch.tensor(list(ROWS)), lambda ids: [ROWS[int(i)] for i in ids])


def chosen(facets, class_name=None, folder=None):
    return facets.ids[facets.mask(class_name, folder)].tolist()


def test_names_are_listed(facets):
    assert facets.classes == ["dog", "7", "cat"]
    assert facets.folders == ["a", "a/b", "ab"]
    assert [class_of(ROWS[i]) for i in (3, 20, 21)] == ["cat", None, "7"]


def test_a_filter_is_a_class_a_folder_with_those_below_or_both(facets):
    assert facets.mask(None, None) is None
    assert chosen(facets, "dog") == [4, 9]
    assert chosen(facets, "7") == [21]
    assert chosen(facets, None, "a") == [3, 4, 9]
    assert chosen(facets, None, "a/b") == [3, 4]
    assert chosen(facets, "cat", "ab") == []


@pytest.mark.parametrize(
    ("class_name", "folder"), [("bird", None), (None, "../.."), (None, ""), ("", "a")]
)
def test_an_unknown_name_is_refused(facets, class_name, folder):
    with pytest.raises(ValueError, match="there is no (class|folder)"):
        facets.mask(class_name, folder)


def test_only_its_rows_are_of_an_index(facets):
    asked = (3, 20, 0, 5, 22, -1, 1 << 62, 1 << 63, 10**30)
    assert [i in facets for i in asked] == [True, True] + [False] * 7


def test_an_index_may_be_empty():
    empty = Facets(torch.tensor([], dtype=torch.int64), lambda ids: [])
    assert (empty.classes, empty.folders, 0 in empty) == ([], [], False)
