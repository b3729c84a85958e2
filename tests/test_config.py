from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import Optimizer

from ssl_dml.augment import Augmentation
from ssl_dml.config import component, fill, find_config, parse, parse_run, shipped
from ssl_dml.training import parameter_groups
from ssl_dml.types import ConfigError, ImageSpec
from ssl_dml.yaml_text import to_yaml


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
        config, values = parse(Schema, args, default=file(**changes))
        assert config.cut == Cut(length=3)
        assert fill(Schema, values).cut == Cut(length=3)
    assert parse(Schema, ["--cut", "null"], default=file(cut={"length": 3}))[0].cut is None


def test_the_plain_values_fill_it_again(file, tmp_path):
    _, values = parse(Schema, ["--train.mode", "b"], default=file())
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(values))
    again, same = parse(Schema, [], default=path)
    assert same == values
    assert again.train == Train(steps=3, mode="b")
    assert component(values, "augment")[0] == "ssl_dml.augment.Gray"
    assert component(values, "augment")[1]["blur"] == 0.5


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
        (
            [],
            {"augment": {"class_path": "ssl_dml.augment.Gray", "init_args": {"xyz": 1}}},
            "xyz is not an argument of ssl_dml.augment.Gray; it has crops,",
        ),
        ([], {"augment": {"class_path": "ssl_dml.augment.Grau"}}, "Grau"),
        ([], {"augment": None}, "augment"),
        ([], {"seed": None}, "seed must not be null; leave it out to keep the default"),
        (["--seed", "null"], {}, "seed must not be null; leave it out to keep the default"),
        ([], {"train": {"mode": None}}, "train.mode must not be null; leave it out to keep"),
        (
            [],
            {"augment": {"class_path": "ssl_dml.augment.Gray", "init_args": {"blur": None}}},
            "augment.init_args.blur must not be null; leave it out to keep the default",
        ),
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


@pytest.mark.parametrize("text", ["1e3", "012", "yes", "~", "a: b", "[x]", "{y}", "#z", "é ß 글"])
def test_text_that_looks_like_something_else_reads_back_as_text(tmp_path, text):
    @dataclass(frozen=True, kw_only=True)
    class OneText:
        """One text."""

        source: str

    (tmp_path / "one.yaml").write_text(to_yaml({"source": text}))
    assert parse(OneText, [], default=tmp_path / "one.yaml")[0].source == text


def test_shipped_configurations_are_found_by_name_and_by_path(tmp_path):
    assert "moco_v2" in shipped("pretrain")
    assert find_config("moco_v2", "pretrain") == find_config("pretrain/moco_v2", "evaluate")
    assert find_config("finetune/arcface", "pretrain").name == "arcface.yaml"
    (tmp_path / "own.yaml").touch()
    assert find_config(tmp_path / "own.yaml", "pretrain") == tmp_path / "own.yaml"
    with pytest.raises(ConfigError, match=r"moco_v9: there is no such file .*mean moco_v"):
        find_config("moco_v9", "pretrain")


@dataclass(frozen=True, kw_only=True)
class Resumable:
    """A run."""

    output_dir: str
    train: Train = field(default_factory=Train)
    resume: bool = False


def test_a_resumed_run_continues_with_its_own_configuration(tmp_path, capsys):
    default, folder, usual = tmp_path / "default.yaml", tmp_path / "run", tmp_path / "usual"
    default.write_text(f"output_dir: {usual}\ntrain: {{steps: 1}}\n")

    def steps(*args):
        return parse_run(Resumable, args, kind="pretrain", default=str(default))[0].train.steps

    for place, number in ((folder, 5), (usual, 7)):
        place.mkdir()
        assert steps("--resume", "true", f"--output_dir={place}") == 1
        assert f"nothing to resume in {place}" in capsys.readouterr().out
        (place / "config.yaml").write_text(f"output_dir: {place}\ntrain: {{steps: {number}}}\n")
    assert steps("--output_dir", str(folder)) == 1
    for value in ("true", "True", "yes"):
        assert steps("--output_dir", str(folder), "--resume", value) == 5
        assert steps(f"--output_dir={folder}", f"--resume={value}") == 5
        assert steps("--resume", value) == 7
    assert steps("--output_dir", str(folder), "--resume", "false") == 1
    assert steps("--output_dir", str(folder), "--resume=true", "--train.steps", "9") == 9
    assert steps("--config", str(default), "--output_dir", str(folder), "--resume", "true") == 1
    (folder / "config.yaml").write_bytes(b"output_dir: \xff\n")
    with pytest.raises(ConfigError, match=r"run/config\.yaml is no YAML in UTF-8: [^\n]*$"):
        steps("--output_dir", str(folder), "--resume", "true")


@dataclass(frozen=True, kw_only=True)
class Text:
    """A key of text.

    Args:
        source: Any text.
    """

    source: str


@settings(max_examples=30, deadline=None, derandomize=True)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example(text="~")
@example(text="null")
@example(text="1:30")
@example(text="a [v2]: b, 'c' #d ")
@example(text="--x")
@example(text="a\x85b\u2028c\rd")
def test_any_text_of_the_command_line_and_of_a_record_is_that_text(tmp_path_factory, text):
    config, values = parse(Text, [f"--source={text}"])
    assert config.source == text
    record = tmp_path_factory.mktemp("record") / "config.yaml"
    record.write_bytes(to_yaml(values).encode())
    assert parse(Text, [f"--config={record}"]) == (config, values)
