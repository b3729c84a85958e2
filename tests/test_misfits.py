"""A value of the wrong type is named with its key, what is expected, and itself."""

from pathlib import Path
from typing import Literal

import pytest

from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import parse
from ssl_dml.misfits import type_name
from ssl_dml.types import ConfigError, shown


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--data.image_size="], "data.image_size: expected int or [int, int] or null, got ''"),
        (["--optimizer.init_args.lr=[1]"], "optimizer.init_args.lr: expected float or Tensor, got"),
        (["--train=[1]"], "train is a section of keys, and must not be [1]"),
        (["--method.init_args=3"], "method.init_args must be keys with values, got '3'"),
        (
            ["--data.sequences=null", "--train.steps=x"],
            "train.steps: expected int or null, got 'x'",
        ),
        (["--optimizer=null"], "optimizer must name a class, and not be null"),
        (["--data.sequences=3"], "data.sequences: expected keys with values or null, got '3'"),
        (["--augment.init_args.crops.views=x"], "augment.init_args.crops.views: expected int, got"),
        (["--method.init_args.temprature=1"], "did you mean temperature?"),
        (["--augment={class_path: ssl_dml.augment.Gray, foo: 3}"], "augment.init_args.foo is not"),
        (["--seed=" + "x" * 5000], "xxx... (5,002 characters)"),
    ],
)
def test_a_misfit_is_named(args, line, tmp_path):
    with pytest.raises(ConfigError) as caught:
        parse(PretrainConfig, [*args, f"--output_dir={tmp_path}"], kind="pretrain", default="hcl")
    assert line in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("body", ["", "[]", "3", "- 1", "config: x.yaml", "train: null", "a: ["])
def test_a_file_that_is_no_configuration_is_named_or_its_key(body, tmp_path):
    file = tmp_path / "given.yaml"
    file.write_text(body)
    args = ["--config=default", f"--config={file}", f"--output_dir={tmp_path}"]
    with pytest.raises(ConfigError) as caught:
        parse(PretrainConfig, args, kind="pretrain")
    assert str(caught.value).startswith((str(file), "train must not be null"))
    assert "unicode string" not in str(caught.value)


def test_types_and_values_as_a_user_knows_them():
    assert type_name(Literal["a", "b"] | None) == "Literal['a', 'b'] or null"
    assert type_name(tuple[float, ...]) == "[float, ...]"
    assert type_name(Path) == "a path"
    assert type_name(dict[str, int]) == "keys with values"
    assert shown(10**30) == str(10**30)
    assert len(shown("x" * 10**6)) < 120
