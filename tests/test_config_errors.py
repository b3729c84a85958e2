"""The parser's prose becomes one line: key, value and what is right."""

import pytest

from ssl_dml.config_errors import explain, nearest

KEYS = ["train.steps", "train.epochs", "seed"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("unrecognized arguments: --train.stps 3", "--train.stps is not a key; did you mean train"),
        ("Group 'train' does not accept option 'stps'", "train.stps is not a key; did you mean"),
        ("Option 'sed' is not accepted", "sed is not a key; did you mean seed?"),
        (
            "Parser key \"seed\": Expected a <class 'int'>. Got value: 1.5",
            "seed: expected int, got '1.5'",
        ),
        ('Key "x" is required', "required: give it in a file with --config or on the command"),
        (
            'Parser key "method": Type Callable expects a function or a callable class: the '
            "following arguments are required: teacher. Got value: Namespace(x=1)",
            "method.init_args.teacher is required: give it in a file with --config or on",
        ),
        ("something\n   else", "something else"),
    ],
)
def test_one_line_for_each_kind(message, expected):
    found = explain(message, KEYS)
    assert expected in found
    assert "\n" not in found


def test_the_nearest_key_or_where_keys_are_listed():
    assert nearest("sede", KEYS) == "; did you mean seed?"
    assert nearest("zzz", KEYS) == "; --help lists the keys"
