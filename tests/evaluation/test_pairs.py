import re

import pytest
import torch

from ssl_dml.evaluation.pairs import drawn_pairs, read_pairs
from ssl_dml.types import ConfigError

NAMES = ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0001.jpg", "Cy/Cy_0010.jpg"]


def told(pairs):
    return list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.same.tolist(), strict=True))


@pytest.mark.parametrize("header", ["", "a,b,same\n"])
def test_pairs_of_a_table_are_found_by_path(tmp_path, header):
    path = tmp_path / "pairs.csv"
    path.write_text(f"{header}{NAMES[0]},{NAMES[1]},1\n\n{NAMES[2]}, {NAMES[0]} ,False\n")
    pairs = read_pairs(path, NAMES)
    assert told(pairs) == [(0, 1, True), (2, 0, False)]
    assert pairs.folds == [0, 5]


def test_folds_are_those_of_the_file(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,1,x\na,c,0,y\nb,c,0,x\n")
    assert read_pairs(path, [*"abc"]).folds == [0, 1, 0]


def test_labeled_faces_in_the_wild_are_understood(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\nAnn\t2\t1\nBob\t1\tCy\t10\n")
    pairs = read_pairs(path, [f"lfw/{name}" for name in NAMES])
    assert told(pairs) == [(0, 1, True), (1, 2, False), (1, 0, True), (2, 3, False)]
    assert pairs.folds == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,1\na,b\n", r"line 2: must be path,path,same with 1 or 0, got \['a', 'b'\]"),
        ("a,b,1\na,b,2\n", "line 2: must be path,path,same"),
        ("a,b,1\na,d,0\n", "line 2: no sample has the path 'd'; they are as 'a'"),
        ("a,b,1,1\na,b,0\n", "1 of 2 pairs have a fold"),
        ("a,b,same\n", "has no pairs"),
        ("", "line 1: must be path,path,same, or numbers"),
        ("1 1\nAnn 1\n", "line 2: must be name number number"),
        ("1 1\nAnn 1 2\n", "line 2: no sample has the path 'Ann/Ann_0001'"),
        ('a,"b\n', "line 1: must be path"),
    ],
)
def test_lines_that_are_no_pairs_are_named(tmp_path, text, words):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_pairs(path, [*"abc"])
    assert re.search(r"pairs\.csv", str(error.value))


def test_what_is_no_file_of_text_is_refused(tmp_path):
    (tmp_path / "pairs").mkdir()
    for path in (tmp_path / "pairs", tmp_path / "none"):
        with pytest.raises(ConfigError, match=r"^pairs '"):
            read_pairs(path, NAMES)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe,")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pairs(tmp_path / "bytes", NAMES)


def test_each_pair_of_a_kind_has_the_same_chance():
    labels = torch.tensor([2, 0, 2, 1, 2, 0])
    pairs = drawn_pairs(labels, 20_000, seed=3)
    assert torch.equal(pairs.same, labels[pairs.first] == labels[pairs.second])
    assert pairs.same.sum() == 20_000
    both = torch.stack([pairs.first, pairs.second]).sort(dim=0).values
    for same, kinds in ((True, 4), (False, 11)):
        found, counts = both[:, pairs.same == same].unique(dim=1, return_counts=True)
        assert (found[0] < found[1]).all()
        assert len(counts) == kinds
        assert counts.double().div(20_000 / kinds).sub(1).abs().max() < 0.1
    assert torch.equal(drawn_pairs(labels, 9, seed=1).first, drawn_pairs(labels, 9, seed=1).first)


@pytest.mark.parametrize("labels", [[0, 1, 2], [4, 4, 4]])
def test_pairs_of_both_kinds_must_be_there(labels):
    with pytest.raises(ValueError, match="two rows of one identity and a second identity"):
        drawn_pairs(torch.tensor(labels), 5)
