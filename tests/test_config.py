from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import yaml
from torch import nn
from torch.optim import Optimizer

from ssl_dml.augment import Augmentation
from ssl_dml.config import ConfigError, component, fill, parse, run
from ssl_dml.training import parameter_groups
from ssl_dml.types import ImageSpec, NonFiniteError


@dataclass(frozen=True, kw_only=True)
class Train:
    """Section.

    Args:
        steps: A number.
        epochs: Another.
        mode: A choice.
    """

    steps: int | None = None
    epochs: float | None = None
    mode: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A section that may be null.

    Args:
        length: A number.
    """

    length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Everything.

    Args:
        augment: A component.
        train: A section.
        cut: Another, or nothing.
        seed: A number.
    """

    augment: Callable[[ImageSpec], Augmentation]
    train: Train = field(default_factory=Train)
    cut: Cut | None = None
    seed: int = 0


@pytest.fixture
def file(tmp_path):
    def write(**changes):
        content = {
            "augment": {"class_path": "ssl_dml.augment.Gray", "init_args": {"blur": 0.5}},
            "train": {"steps": 3},
            **changes,
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_file_and_command_line_become_a_dataclass(file, gray):
    config, _ = parse(Schema, ["--seed", "7", "--train.mode", "b"], default=file())
    assert (config.seed, config.train) == (7, Train(steps=3, mode="b"))
    augment = config.augment(gray)
    assert isinstance(augment, Augmentation)


def test_a_section_may_be_null_and_is_there_once_a_key_of_it_is(file):
    assert parse(Schema, [], default=file())[0].cut is None
    for args, changes in ((["--cut.length", "3"], {}), ([], {"cut": {"length": 3}})):
        config, text = parse(Schema, args, default=file(**changes))
        assert config.cut == Cut(length=3)
        assert fill(Schema, yaml.safe_load(text)).cut == Cut(length=3)
    assert parse(Schema, ["--cut", "null"], default=file(cut={"length": 3}))[0].cut is None


def test_the_resolved_text_fills_it_again(file, tmp_path):
    _, text = parse(Schema, ["--train.mode", "b"], default=file())
    path = tmp_path / "again.yaml"
    path.write_text(text)
    again, same = parse(Schema, [], default=path)
    assert same == text
    assert again.train == Train(steps=3, mode="b")
    assert component(text, "augment")[0] == "ssl_dml.augment.Gray"
    assert component(text, "augment")[1]["blur"] == 0.5


def test_a_null_in_the_text_is_kept(tmp_path):
    """An argument set to null must not fall back to its default."""
    method = {"class_path": "ssl_dml.methods.NPID", "init_args": {"negatives": None}}

    from ssl_dml.backbones import Backbone
    from ssl_dml.methods import Method, RunInfo

    @dataclass(frozen=True, kw_only=True)
    class OneMethod:
        """One component."""

        method: Callable[[Backbone, RunInfo], Method]

    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump({"method": method}))
    _, text = parse(OneMethod, [], default=path)
    assert component(text, "method")[1]["negatives"] is None


@pytest.mark.parametrize("name", ["torch.optim.AdamW", "torch.optim.SGD", "timm.optim.Lars"])
def test_any_optimizer_is_named_by_its_path(tmp_path, name):
    @dataclass(frozen=True, kw_only=True)
    class OneOptimizer:
        """One component."""

        optimizer: Callable[[list[dict[str, Any]]], Optimizer]

    path = tmp_path / "o.yaml"
    arguments = {"lr": 0.5, "weight_decay": 0.1}
    path.write_text(yaml.safe_dump({"optimizer": {"class_path": name, "init_args": arguments}}))
    config, _ = parse(OneOptimizer, [], default=path)
    made = config.optimizer(parameter_groups(nn.Linear(2, 2)))
    assert [group["lr"] for group in made.param_groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in made.param_groups] == [0.1, 0.0]


def test_parsing_builds_nothing(file, monkeypatch):
    monkeypatch.setattr(nn.Module, "__init__", lambda *_: pytest.fail("a module was built"))
    parse(Schema, [], default=file())


def test_a_component_class_keeps_its_own_defaults_when_the_file_changes_it(file):
    """Defaults of one class must not leak into another that the YAML names instead."""
    augment = {"class_path": "ssl_dml.augment.Color", "init_args": {"hue": 0.05}}
    _, text = parse(Schema, [], default=file(augment=augment))
    arguments = component(text, "augment")[1]
    assert "gamma" not in arguments
    assert arguments["hue"] == 0.05
    assert arguments["saturation"] == 0.4


def test_a_flag_inside_a_component_leaves_its_class_alone(file):
    _, text = parse(Schema, ["--augment.init_args.blur", "0.25"], default=file())
    assert component(text, "augment") == (
        "ssl_dml.augment.Gray",
        component(text, "augment")[1] | {"blur": 0.25},
    )


def test_a_key_of_the_command_line_unsets_its_alternative(file):
    either = ("train.steps", "train.epochs")
    config, _ = parse(Schema, ["--train.epochs", "2"], default=file(), either=either)
    assert config.train == Train(epochs=2.0)
    config, _ = parse(Schema, ["--train.steps=5"], default=file(), either=either)
    assert config.train == Train(steps=5)


@pytest.mark.parametrize(
    ("args", "changes", "words"),
    [
        (["--train.stps", "3"], {}, "--train.stps is not a key; did you mean train.steps"),
        ([], {"train": {"stps": 3}}, "train.stps is not a key; did you mean train.steps"),
        (["--train.steps", "x"], {}, "train.steps: expected int or null, got 'x'"),
        (["--train.mode", "c"], {}, "train.mode: expected Literal['a', 'b'], got 'c'"),
        (["--cut.lenght", "3"], {}, "cut.lenght is not an argument of"),
        ([], {"cut": {"lenght": 3}}, "; did you mean length"),
        (["--cut.length", "x"], {}, "cut.length: expected int or null, got 'x'"),
        (["--seed", "1.5"], {}, "seed: expected int, got '1.5'"),
        (["--config", "no.yaml"], {}, "no.yaml: there is no such file"),
        (
            [],
            {"augment": {"class_path": "ssl_dml.augment.Gray", "init_args": {"blurr": 1}}},
            "blurr is not an argument of ssl_dml.augment.Gray; did you mean blur",
        ),
        ([], {"augment": {"class_path": "ssl_dml.augment.Grau"}}, "Grau"),
        ([], {"augment": None}, "augment"),
        ([], {"other": {"key": 1}}, "other.key is not a key; --help lists the keys"),
    ],
)
def test_a_mistake_is_one_line_that_names_key_and_value(file, args, changes, words):
    with pytest.raises(ConfigError) as caught:
        parse(Schema, args, default=file(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("train: [")
    with pytest.raises(ConfigError) as caught:
        parse(Schema, [], default=path)
    assert "\n" not in str(caught.value)


def test_a_section_alone():
    assert fill(Train, {"steps": 4}) == Train(steps=4)
    with pytest.raises(ConfigError, match="stps"):
        fill(Train, {"stps": 4})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("bad key"), 2),
        (NonFiniteError("step 3"), 1),
        (OSError(28, "No space left on device", "/there"), 1),
    ],
)
def test_a_users_mistake_ends_in_one_line(error, code, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as left:
        run(main)
    assert left.value.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_value_error_of_the_package_is_told_and_a_foreign_one_is_a_bug(capsys):
    with pytest.raises(SystemExit):
        run(lambda: ImageSpec(channels=1, size=1, mean=(), std=()))
    assert "mean and std need one value" in capsys.readouterr().err
    with pytest.raises(ValueError, match="invalid literal"):
        run(lambda: int("x"))


def test_success_and_ctrl_c_have_their_codes(capsys):
    with pytest.raises(SystemExit) as left:
        run(lambda: 0)
    assert left.value.code == 0

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as left:
        run(interrupted)
    assert left.value.code == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("form", [["--config", "{}"], ["--config={}"]])
def test_a_key_overrides_the_file_wherever_it_is_written(tmp_path, form):
    @dataclass(frozen=True, kw_only=True)
    class Two:
        """Two numbers."""

        first: int = 0
        second: int = 0

    path = tmp_path / "two.yaml"
    path.write_text("first: 1\nsecond: 2\n")
    file = [part.format(path) for part in form]
    for args in (["--first", "3", *file], [*file, "--first", "3"], ["--first=3", *file]):
        config, _ = parse(Two, args)
        assert (config.first, config.second) == (3, 2)
