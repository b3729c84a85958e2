"""YAML whose text stays text."""

import os

import pytest
import yaml

from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import Text, as_text, load, read_yaml, to_yaml


def test_what_yaml_found_to_be_text_is_marked():
    found = load("a: ['1', 1, {1: x}]")
    assert found == {"a": ["1", 1, {"1": "x"}]}
    assert type(found["a"][0]) is Text
    assert type(next(iter(found["a"][2]))) is Text
    assert as_text(None) is None


@pytest.mark.parametrize("text", ["!!int x", "&a [*a]", "1:", "[", "a: =", "!x"])
def test_what_is_no_yaml_is_one_kind_of_error(tmp_path, text):
    with pytest.raises(yaml.YAMLError):
        load(text)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml is no YAML in UTF-8: [^\n]*$"):
        read_yaml(tmp_path / "x.yaml")


VALUES = [1e-05, 1e22, 5e-324, 3.0, 10**30, -7, True, None, "1e3", "1.5 \udcff", "\\ud800"]


@pytest.mark.parametrize("value", VALUES)
def test_values_read_back_of_the_same_type(value):
    read = load(to_yaml({"a": [value, {"b": value}]}))
    assert read == {"a": [value, {"b": value}]}
    assert repr(read["a"][0]) == repr(value)


def laughs(depth):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (laughs(10), "it holds 12,345,679,011 values, and at most 10,000 are read"),
        ("a: [" + "1, " * 10_000 + "1]", "it holds 10,003 values"),
        ("seed: 1\nx: 2\nseed: 3", "seed is given twice, in lines 1 and 3; leave one of them out"),
        ("a: {b: 1, b: 1}", "b is given twice, in line 1"),
        ("a: [[{b: 1, 'b': 1}]]", "b is given twice"),
    ],
)
def test_what_grows_and_what_is_said_twice_is_refused(tmp_path, text, line):
    with pytest.raises(yaml.YAMLError, match=line):
        load(text)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=line):
        read_yaml(tmp_path / "x.yaml")


def test_anchors_and_merges_within_reason_are_read():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]"
    assert load(text)["b"] == {"x": 1, "y": 3}
    assert load(laughs(3))["a2"][0][0] == ["x"] * 10


def test_a_file_that_is_none_or_too_large_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(1 << 33)
    for name, line in [("pipe", "is a pipe"), ("device", "is a device"), ("large", "has 8,589,9")]:
        with pytest.raises(ConfigError, match=rf"{name}\.yaml is no YAML in UTF-8: it {line}"):
            read_yaml(tmp_path / f"{name}.yaml")


@pytest.mark.parametrize("text", ["._", "-._", "1.5e3", ".5E-3", "1_0", "12:30", "-", "..", "e"])
def test_text_that_a_reader_may_take_for_a_number_stays_text(text):
    assert load(to_yaml({"a": text})) == {"a": text}
