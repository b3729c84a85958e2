import pytest

from ssl_dml.given import given_keys, is_open, split_configs
from ssl_dml.types import ConfigError


def test_words_become_nested_keys_in_both_spellings():
    given = given_keys(["--a.b=1", "--a.c", "x=y", "--d", "null", "--e=[1, 2]"])
    assert given == {"a": {"b": "1", "c": "x=y"}, "d": None, "e": [1, 2]}


def test_another_class_drops_the_arguments_of_the_last():
    given = given_keys(["--m.lr=1", "--m.class_path=a.B", "--m.x=2", "--m.class_path", "a.C"])
    assert given == {"m": {"class_path": "a.C"}}


def test_a_file_comes_first_and_may_not_name_another(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("train: {steps: 3, lr: 1}\n")
    assert given_keys([f"--config={path}", "--train.steps=5"]) == {"train": {"steps": "5", "lr": 1}}
    for text, words in (("- 1", "must hold keys"), ("config: b", "config is not a key")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            given_keys([f"--config={path}"])


def test_a_configuration_needs_a_name():
    assert split_configs(["--config=a", "--x", "1", "--config", "b"]) == (["a", "b"], ["--x", "1"])
    with pytest.raises(ConfigError, match="--config needs a file"):
        split_configs(["--config"])


@pytest.mark.parametrize(
    ("words", "open_"),
    [
        ([], True),
        (["--augment=mine.Views"], False),
        (["--augment.class_path=mine.Views"], False),
        (["--augment.init_args.crops.flip=0"], True),  # is merged into what is chosen
        (["--augments=1"], True),
    ],
)
def test_a_component_that_somebody_named_is_not_chosen(words, open_):
    assert is_open("augment", given_keys(words)) == open_


@pytest.mark.parametrize("words", [["--whiten=null"], ["--whiten=64"], ["--whiten", "false"]])
def test_null_is_a_value_too(words):
    assert not is_open("whiten", given_keys(words))


def test_an_argument_of_a_component_that_somebody_named_is_theirs():
    key = "method.init_args.temperature"
    assert not is_open(key, given_keys(["--method=ssl_dml.methods.MoCo"]))
    assert not is_open(key, given_keys(["--method.init_args.temperature=0.5"]))
    assert is_open(key, given_keys(["--method.init_args.layers=3"]))
