"""YAML whose text stays text."""

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
