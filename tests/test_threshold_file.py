"""What ``threshold.json`` says, what it cannot say, and of which model."""

import json
import math
from dataclasses import asdict, replace

import pytest

from ssl_dml.threshold_file import (
    THRESHOLD,
    Limits,
    Threshold,
    Unknown,
    read_threshold,
    write_threshold,
)
from ssl_dml.types import ConfigError

NAMES = ("far", "binomial", "tar")
MEASURES = {f"{name}{end}": 0.5 for name in NAMES for end in ("", "_low", "_high")} | {"ece": 0.01}
FOUND = Threshold(
    digest="ab" * 32,
    pool=None,
    views="one",
    dim=8,
    threshold=0.75,
    far=0.01,
    confidence=0.95,
    identities=40,
    rows=80,
    measures=MEASURES,
    cosines=[-1.0, 0.5, 1.0],
    same=[0.0, 0.5, 0.9],
    unknown=Unknown(threshold=0.6, fpir=0.05, identities=60, gallery_rows=50),
)


@pytest.mark.parametrize("found", [FOUND, replace(FOUND, unknown=None, pool="gem")])
def test_what_was_written_is_read(found, tmp_path):
    assert read_threshold(tmp_path) is None
    assert write_threshold(tmp_path, found) == tmp_path / THRESHOLD
    assert read_threshold(tmp_path) == found


def test_probabilities_are_interpolated():
    assert FOUND.judge(0.75) == (True, pytest.approx(0.7), 0.75)
    assert FOUND.judge(-0.25) == (False, pytest.approx(0.25), -0.25)
    assert FOUND.probability(1.0001) == 0.9


def test_limits_are_of_a_gallery_of_at_most_so_many_rows():
    assert [FOUND.limits(rows) for rows in (50, 51)] == [Limits(0.75, 0.6), Limits(0.75)]
    assert replace(FOUND, unknown=None).limits(1) == Limits(0.75)


def test_a_best_match_below_the_limit_is_refused():
    assert Limits().refusal(-1.0) is None
    assert Limits().refusal(None) is None
    assert [Limits(0.75, 0.6).refusal(best) for best in (0.6, 0.7)] == [None, None]
    assert Limits(0.75, 0.6).refusal(0.59) == "unknown: no match reaches 0.6000"
    assert Limits(0.75).refusal(0.7) == "unknown: no match reaches 0.7500"
    assert Limits(0.75).refusal(None) is not None


def test_sentences_have_the_promise_and_its_intervals():
    text = "\n".join(FOUND.lines())
    for part in ("cosine 0.7500", "at most 0.01", "40 identities", "TAR 50.0%", "below 0.6000"):
        assert part in text
    assert len([*replace(FOUND, unknown=None).lines()]) == 3


@pytest.mark.parametrize(
    ("digest", "pool", "views", "dim", "named"),
    [("cd" * 32, None, "one", 8, "weights"), ("ab" * 32, "gem", "one", 8, "pool"),
     ("ab" * 32, None, "flip", 8, "views"), ("ab" * 32, None, "one", 4, "dim")],
)  # fmt: skip
def test_one_of_another_model_is_refused(digest, pool, views, dim, named, tmp_path):
    FOUND.check(tmp_path, "ab" * 32, None, None, 8)
    with pytest.raises(ConfigError, match=rf"threshold.json is of {named} .*: run ssl_dml thresh"):
        FOUND.check(tmp_path, digest, pool, views, dim)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", 2), ("threshold", None), ("far", "0.1"), ("confidence", True),
        ("identities", 0), ("dim", 0), ("rows", 2.5), ("digest", 3), ("pool", 1), ("measures", {}),
        ("measures", 3), ("measures", {**MEASURES, "far": "a"}), ("cosines", [1.0, 0.0, 1.0]),
        ("cosines", 5), ("same", [0.0, 1.0]), ("same", [0.0, 0.5, 1.5]), ("unknown", []),
        ("unknown", {"threshold": 0.5}), ("same", [0.9, 0.5, 0.1]),
        ("unknown", {"threshold": 9, "fpir": 0.1, "identities": 3, "gallery_rows": 3}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(key, value, tmp_path):
    path = write_threshold(tmp_path, FOUND)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ConfigError, match=r"threshold.json .*; run ssl_dml threshold again"):
        read_threshold(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2}'])
def test_other_files_are_told_in_a_line(text, tmp_path):
    (tmp_path / THRESHOLD).write_text(text)
    with pytest.raises(ConfigError, match="run ssl_dml threshold again") as told:
        read_threshold(tmp_path)
    assert "\n" not in str(told.value)


def test_numbers_that_are_not_finite_are_not_read(tmp_path):
    write_threshold(tmp_path, replace(FOUND, threshold=math.nan))
    with pytest.raises(ConfigError, match=r"threshold\.json .*; run ssl_dml threshold again"):
        read_threshold(tmp_path)


ODD = [
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    "",
    "a\nb",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"a": 1},
    [1e308] * 3,
]


@pytest.mark.parametrize("key", [*json.loads(json.dumps(asdict(FOUND))), "format"])
def test_any_value_of_a_strangers_file_is_read_or_told_in_a_line(key, tmp_path):
    path = write_threshold(tmp_path, FOUND)
    written, told = json.loads(path.read_text()), 0
    below = written[key] if type(written[key]) is dict else {}
    of = [(written, key), *((below, name) for name in below)]
    for place, name in of:
        kept = place[name]
        for odd in ODD:
            place[name] = odd
            path.write_text(json.dumps(written))
            try:
                found = read_threshold(tmp_path)
            except ConfigError as error:
                assert str(error).isprintable(), (name, odd)
                told += 1
                continue
            assert found is not None
            assert all(line.isprintable() for line in found.lines()), (name, odd)
            assert 0 <= found.judge(0.3).probability <= 1
            with pytest.raises(ConfigError) as refused:
                found.check(tmp_path, "cd" * 32, "other", "flip", 5)
            assert str(refused.value).isprintable(), (name, odd)
        place[name] = kept
    assert told
