"""What a configuration may name, in every field and in every way to write a name."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import pytest
import torch
import yaml
from launching import completed
from torch import Tensor, nn
from torch.optim import Optimizer

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone, TimmBackbone, save
from ssl_dml.commands.finetune import FinetuneConfig
from ssl_dml.commands.finished import data_of
from ssl_dml.components import find_class, mistakes, parser_of
from ssl_dml.config import fill, parse, parse_run
from ssl_dml.heads import Head
from ssl_dml.losses import PairLoss
from ssl_dml.margins import Margin
from ssl_dml.methods import Method, RunInfo
from ssl_dml.mining import Miner
from ssl_dml.types import ConfigError, ImageSpec
from ssl_dml.yaml_text import to_yaml

ROOT = Path(__file__).parents[1]
# Each leaves a mark when it is called; functions are typed as if they made what is asked for.
STRANGERS = """
import functools
import os
from abc import ABC, abstractmethod
from pathlib import Path

from {module} import {kind}


def function(command: str = "") -> {kind}:
    Path({mark!r}).touch()


class Other:
    def __init__(self, command: str = "") -> None:
        function()

    def method(self, command: str = "") -> {kind}:
        function()

    @classmethod
    def of_class(cls, command: str = "") -> {kind}:
        function()

    __call__ = method


class Abstract({kind}, ABC):
    @abstractmethod
    def more(self): ...


def __getattr__(name):
    if name in ("instance", "bound"):
        other = Other.__new__(Other)
        return other if name == "instance" else other.method
    raise AttributeError(f"there is no {{name}}")


wrapped = functools.lru_cache(function)
partial = functools.partial(function)
"""
PAIRS = {"class_path": "ssl_dml.heads.PairHead", "init_args": {"loss": "ssl_dml.losses.Triplet"}}
CLASSES = {"class_path": "ssl_dml.heads.MarginSoftmax", "init_args": {"margin": "{}"}}
TO_HEAD = Callable[[int, int], Head]
# Key: what the field is typed for, the kind, and a configuration with {} where the name goes.
FIELDS = {
    "augment": (Callable[[ImageSpec], Augmentation], Augmentation, "{}"),
    "backbone": (Callable[[ImageSpec], Backbone], Backbone, "{}"),
    "method": (Callable[[Backbone, RunInfo], Method], Method, "{}"),
    "optimizer": (Callable[[list[dict[str, Any]]], Optimizer], Optimizer, "{}"),
    "head": (TO_HEAD, Head, "{}"),
    "head.init_args.margin": (TO_HEAD, Margin, CLASSES),
    "head.init_args.loss": (TO_HEAD, PairLoss, {**PAIRS, "init_args": {"loss": "{}"}}),
    "head.init_args.miner": (
        TO_HEAD,
        Miner,
        {**PAIRS, "init_args": {**PAIRS["init_args"], "miner": "{}"}},
    ),
    "head.init_args.heads.second": (
        TO_HEAD,
        Head,
        {
            "class_path": "ssl_dml.heads.WeightedSum",
            "init_args": {"heads": {"first": "ssl_dml.heads.ProxyNCA", "second": "{}"}},
        },
    ),
    "head.init_args.heads.only.init_args.margin": (
        TO_HEAD,
        Margin,
        {"class_path": "ssl_dml.heads.WeightedSum", "init_args": {"heads": {"only": CLASSES}}},
    ),
}
STRANGE = {
    "{strangers}.function": "is a function",
    "{strangers}.Other.of_class": "is a function",
    "{strangers}.bound": "is a function",
    "{strangers}.wrapped": "is a function",
    "{strangers}.partial": "is no class",
    "{strangers}.instance": "is no class",
    "{strangers}.Other": "is no {kind}",
    "{strangers}.Abstract": "is abstract",
    "{strangers}.Missing": "cannot be imported",
    "{strangers}.os": "is a module",
    "{strangers}": "cannot be imported",
    "no_such_package.Thing": "cannot be imported",
    "os.system": "is a function",
    "builtins.exec": "is a function",
    "os.path": "is a module",
    "subprocess.Popen": "is no {kind}",
    "pathlib.Path": "is no {kind}",
    "torch.nn.Linear": "is no {kind}",
    "{kind_path}": "is abstract",
}


@pytest.fixture
def mark(tmp_path):
    """The file that is there once something was called."""
    return tmp_path / "called"


@pytest.fixture
def strangers(tmp_path, monkeypatch, mark):
    """Write a module of things that must not be called, typed for a kind; gives its name."""

    def write(kind):
        name = f"strangers_{kind.__name__.lower()}"
        text = STRANGERS.format(module=kind.__module__, kind=kind.__name__, mark=str(mark))
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return write


def schema_of(key, hint):
    name = key.partition(".")[0]
    return make_dataclass("Only", [(name, hint)], frozen=True, kw_only=True)


def filled(template, value):
    """A configuration with a value in the place of ``{}``."""
    if isinstance(template, dict):
        return {name: filled(one, value) for name, one in template.items()}
    return value if template == "{}" else template


def refusal(schema, args):
    with pytest.raises(ConfigError) as caught:
        parse(schema, args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("key", FIELDS)
def test_only_a_class_of_the_kind_may_be_named(strangers, tmp_path, mark, key, strange):
    hint, kind, template = FIELDS[key]
    if strange == "{kind_path}" and kind is Optimizer:
        pytest.skip("torch does not say that it is abstract")
    path = f"{kind.__module__}.{kind.__name__}"
    name = strange.format(strangers=strangers(kind), kind_path=path)
    spec = {"class_path": name, "init_args": {"command": f"touch {mark}"}}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({key.partition(".")[0]: filled(template, spec)}))

    said = refusal(schema_of(key, hint), ["--config", str(file)])

    expected = STRANGE[strange].format(kind=kind.__name__)
    assert said.startswith(f"{key}.class_path: {name} {expected}")
    assert f"; name a subclass of {kind.__name__}, such as " in said
    example = said.rpartition(" such as ")[2]
    assert issubclass(find_class(example, (kind,)), kind)
    assert not mark.exists()


FORMS = {
    "flags": ["--{key}.class_path", "{name}", "--{key}.init_args.command", "touch {mark}"],
    "flags with =": ["--{key}.class_path={name}", "--{key}.init_args.command=touch {mark}"],
    "flags without init_args": ["--{key}.class_path", "{name}", "--{key}.command", "{mark}"],
    "JSON": ["--{key}", "{spec}"],
    "JSON with =": ["--{key}={spec}"],
    "JSON appended": ["--{key}+={spec}"],
    "bare": ["--{key}", "{name}"],
    "bare with =": ["--{key}={name}"],
    "bare appended": ["--{key}+", "{name}"],
    "a call": ["--{key}", "{name}('touch {mark}')"],
    "a tag of YAML": ["--{key}", "!!python/object/apply:{name} ['touch {mark}']"],
    "help": ["--{top}.help", "{name}"],
    "YAML as the file": ["--config", "{{{key}: {name}}}"],
}


@pytest.mark.parametrize("strange", ["{strangers}.function", "{strangers}.bound", "os.system"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["augment", "optimizer", "head.init_args.margin"])
def test_however_it_is_written(strangers, tmp_path, mark, key, form, strange):
    hint, kind, template = FIELDS[key]
    name = strange.format(strangers=strangers(kind))
    spec = json.dumps({"class_path": name, "init_args": {"command": f"touch {mark}"}})
    file = tmp_path / "config.yaml"
    usual = {Augmentation: "ssl_dml.augment.Gray", Optimizer: "torch.optim.SGD"}
    value = filled(template, usual.get(kind, "ssl_dml.margins.ArcFace"))
    top = key.partition(".")[0]
    file.write_text(yaml.safe_dump({top: value}))
    words = {"key": key, "top": top, "name": name, "spec": spec, "mark": mark}

    said = refusal(
        schema_of(key, hint), ["--config", str(file), *(arg.format(**words) for arg in FORMS[form])]
    )

    assert name in said
    assert top in said
    assert not mark.exists()


@pytest.mark.parametrize("file", ["bare", "spec"])
def test_in_a_file_beside_flags_that_would_be_right(strangers, tmp_path, mark, file):
    name = f"{strangers(Augmentation)}.function"
    value = name if file == "bare" else {"class_path": name}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"augment": value}))
    schema = schema_of("augment", FIELDS["augment"][0])
    said = refusal(schema, ["--config", str(path), "--augment.init_args.command", "x"])
    assert "function is a function; name a subclass of Augmentation" in said
    assert not mark.exists()


def test_a_section_alone_is_read_the_same_way(strangers, mark):
    name = f"{strangers(Head)}.function"
    schema = schema_of("head", TO_HEAD)
    for value in (name, {"class_path": name, "init_args": {"command": "x"}}):
        with pytest.raises(ConfigError, match="is a function; name a subclass of Head"):
            fill(schema, {"head": value})
    assert not mark.exists()


def test_the_arguments_of_a_function_are_asked_too(strangers, mark):
    """A section may be the keyword arguments of a function instead of a dataclass."""

    def measure(table: int, *, head: TO_HEAD | None = None) -> None:
        pass

    @dataclass(frozen=True, kw_only=True)
    class Schema:
        """A number."""

        seed: int = 0

    spec = {"class_path": f"{strangers(Head)}.function", "init_args": {"command": "x"}}
    args = [f"--measure.head={json.dumps(spec)}"]
    with pytest.raises(ConfigError, match=r"^measure\.head\.class_path: .* is a function; name a"):
        parse(Schema, args, functions={"measure": (measure, {"table"})})
    assert not mark.exists()


def test_a_section_is_no_component(mark):
    @dataclass(frozen=True, kw_only=True)
    class Train:
        """Section."""

        steps: int = 1

    @dataclass(frozen=True, kw_only=True)
    class Schema:
        """Two sections, of which one may be null."""

        train: Train = Train()
        cut: Train | None = None

    spec = {"class_path": "os.system", "init_args": {"command": f"touch {mark}"}}
    assert refusal(Schema, [f"--train={json.dumps(spec)}"]).startswith("train.class_path is not")
    said = refusal(Schema, [f"--cut={json.dumps(spec)}"])
    assert said == "cut.class_path: os.system is a function; leave it out"
    assert not mark.exists()


OWN = """
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ssl_dml.augment import Gray
from ssl_dml.heads import MarginSoftmax
from ssl_dml.losses import PairLoss
from ssl_dml.heads.base import Head

ACTIVATION = nn.ReLU()


class Mine(Gray):
    def __init__(
        self,
        spec,
        *,
        data: Any = None,
        table: dict | None = None,
        untyped=None,
        activation: Callable = torch.relu,
        module: nn.Module = ACTIVATION,
        mode: str | Callable = "mean",
        **kwargs,
    ) -> None:
        super().__init__(spec, **kwargs)
        self.given = data, table, untyped, mode
        self.own = activation is torch.relu, module is ACTIVATION


class Forwards(Head):
    def __init__(self, embedding_dim: int, num_classes: int, **kwargs) -> None:
        super().__init__(embedding_dim, num_classes)
        self.inner = MarginSoftmax(embedding_dim, num_classes, **kwargs)

    def forward(self, embeddings, labels):
        return self.inner(embeddings, labels)


class Losses(Head):
    def __init__(self, dim: int, classes: int, *, losses: list[PairLoss]) -> None:
        super().__init__(dim, classes)
        self.losses = nn.ModuleList(losses)

    def forward(self, embeddings, labels): ...
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package of the user's own."""
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts" / "__init__.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    "args",
    [
        ["--augment", "own_parts.Mine"],
        ["--augment.class_path", "own_parts.Mine"],
        ["--augment", "{class_path: own_parts.Mine, init_args: {blur: 0.5}}"],
    ],
)
def test_a_class_of_ones_own_keeps_its_defaults(gray, tmp_path, args):
    schema = schema_of("augment", Callable[[ImageSpec], Augmentation])
    config, values = parse(schema, args)
    made = config.augment(gray)
    assert type(made).__name__ == "Mine"
    assert made.given == (None, None, None, "mean")
    assert made.own == (True, True)
    if "module" not in str(values):
        file = tmp_path / "again.yaml"
        file.write_text(to_yaml(values))
        assert parse(schema, ["--config", str(file)])[1] == values


@pytest.mark.usefixtures("own")
def test_a_function_is_named_nowhere(strangers, mark):
    schema = schema_of("augment", Callable[[ImageSpec], Augmentation])
    name = strangers(Augmentation)
    for key, value in [
        ("activation", f"{name}.function"),
        ("activation", f"{{class_path: {name}.function}}"),
        ("activation", f"{{class_path: {name}.Other}}"),
        ("module", f"{name}.instance"),
    ]:
        args = ["--augment", "own_parts.Mine", f"--augment.init_args.{key}", value]
        assert f"augment.init_args.{key}" in refusal(schema, args)
    assert not mark.exists()


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("key", ["data", "table", "untyped"])
def test_what_looks_like_a_component_where_any_value_will_do_is_data(strangers, mark, gray, key):
    schema = schema_of("augment", Callable[[ImageSpec], Augmentation])
    name = strangers(Augmentation)
    for stranger in ("Other", "function"):
        spec = {"class_path": f"{name}.{stranger}", "init_args": {"command": "x"}}
        args = ["--augment", "own_parts.Mine", f"--augment.init_args.{key}", json.dumps(spec)]
        config, _ = parse(schema, args)
        found = config.augment(gray).given[("data", "table", "untyped").index(key)]
        assert found["class_path"] == spec["class_path"]
    assert not mark.exists()


@pytest.mark.usefixtures("own")
def test_arguments_that_a_class_passes_on_are_asked_too(strangers, mark):
    schema = schema_of("head", TO_HEAD)
    args = ["--head", "own_parts.Forwards", "--head.init_args.margin"]
    config, _ = parse(schema, [*args, "ssl_dml.margins.ArcFace"])
    assert isinstance(config.head(4, 3).inner.margin, Margin)
    spec = json.dumps({"class_path": f"{strangers(Margin)}.function"})
    assert refusal(schema, [*args, spec]).startswith("head.init_args.margin.class_path: strangers")
    assert not mark.exists()


@pytest.mark.usefixtures("own")
def test_components_in_a_list(strangers, mark):
    schema = schema_of("head", TO_HEAD)
    right, wrong = "ssl_dml.losses.Triplet", f"{strangers(PairLoss)}.function"
    args = ["--head", "own_parts.Losses", "--head.init_args.losses"]
    config, _ = parse(schema, [*args, f"[{{class_path: {right}}}, {right}]"])
    assert len(config.head(4, 3).losses) == 2
    for item in (wrong, f"{{class_path: {wrong}}}"):
        said = refusal(schema, [*args, f"[{right}, {item}]"])
        assert said.startswith("head.init_args.losses.1")
        assert "is a function; name a subclass of PairLoss" in said
    assert not mark.exists()


def test_the_last_part_of_a_known_name_will_do(gray):
    schema = schema_of("augment", Callable[[ImageSpec], Augmentation])
    config, values = parse(schema, ["--augment", "Gray"])
    assert isinstance(config.augment(gray), Augmentation)
    assert values["augment"]["class_path"] == "ssl_dml.augment.Gray"
    assert refusal(schema, ["--augment", "Grey"]).endswith("such as ssl_dml.augment.Gray")


def test_another_mistake_is_told_though_a_name_was_changed(tmp_path):
    """A class that replaces another does not inherit the arguments it has no use for."""

    @dataclass(frozen=True, kw_only=True)
    class Schema:
        """A component and a number."""

        head: TO_HEAD
        seed: int = 0

    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"head": filled(CLASSES, "ssl_dml.margins.ArcFace")}))
    args = ["--config", str(file), "--head.class_path", "ssl_dml.heads.ProxyNCA", "--seed", "x"]
    assert refusal(Schema, args) == "seed: expected int, got 'x'"


Alias = NewType("Alias", Head)


class Plain:
    """Some class."""


@pytest.mark.parametrize(
    ("hint", "refused"),
    [
        (Head | None, True),
        (Annotated[Head, "a note"], True),
        (Alias, True),
        (tuple[Head, ...], True),
        (Mapping[str, list[Head]], True),
        (Callable[..., Any], True),
        (Callable[[int], str], True),
        (Callable, True),
        (Plain, True),
        (Any, False),
        (object, False),
        (dict, False),
        (dict[str, Any], False),
        (Literal["a"], False),
    ],
    ids=str,
)
def test_every_type_that_would_be_built_is_asked(hint, refused):
    owner = type("Owner", (), {})

    def init(self, part=None):
        pass

    init.__annotations__ = {"part": hint}
    owner.__init__ = init
    spec = {"class_path": "os.system"}
    for value in (spec, [spec], {"name": [spec]}):
        if isinstance(value, dict) and "name" in value and "Mapping" not in str(hint):
            continue
        assert bool(list(mistakes(parser_of(owner), {"part": value}))) == refused


def test_a_class_is_found_by_name_and_kind():
    assert find_class("torch.optim.SGD", (Optimizer,)) is torch.optim.SGD
    assert find_class("SGD", (Optimizer,)) is torch.optim.SGD
    assert find_class("torch.nn.Linear", (Tensor, nn.Module)) is nn.Linear
    with pytest.raises(ValueError, match=r"torch\.nn\.Linear is no Tensor or Optimizer; name a"):
        find_class("torch.nn.Linear", (Tensor, Optimizer))
    with pytest.raises(ValueError, match="7 is no class"):
        find_class(7, (Optimizer,))


# Tells of each command that a process starts, whatever starts it.
WATCHED = """
import runpy, sys
def tell(event, arguments):
    if event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
        if {mark!r} in repr(arguments):
            print("RAN", event, file=sys.stderr)
sys.addaudithook(tell)
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def watched(mark, script, *arguments):
    """Code and standard error of a script that is listened to."""
    argv = [str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
    program = Path(f"{mark}.py")
    program.write_text(WATCHED.format(mark=str(mark), argv=argv))
    done = completed(program)
    return done.returncode, done.stderr


def test_a_script_runs_no_command(mark, tmp_path):
    command = f"touch {mark}"
    code, err = watched(
        mark, "pretrain", "--output_dir", tmp_path / "run", "--augment.class_path", "os.system",
        "--augment.init_args.command", command,
    )  # fmt: skip
    assert code == 2
    assert err.startswith("error: augment.class_path: os.system is a function; name a subclass of ")
    assert err.count("\n") == 1
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


TAG = "!!python/object/apply:os.system ['touch {mark}']"
# What a stranger's run folder may hold in the place of a configuration, and what is said of it.
PLANTED = {
    "a function": (
        "augment: {{class_path: os.system, init_args: {{command: touch {mark}}}}}",
        "augment.class_path: os.system is a function; name a subclass of Augmentation",
    ),
    "a nested function": (
        "head: {{class_path: ssl_dml.heads.MarginSoftmax, init_args: {{margin: {{class_path: "
        "os.system, init_args: {{command: touch {mark}}}}}}}}}",
        "head.init_args.margin.class_path: os.system is a function; name a subclass of Margin",
    ),
    "a section": (
        "data: {{class_path: os.system, init_args: {{command: touch {mark}}}}}",
        "data.class_path is not a key",
    ),
    "a tag": (f"augment: {TAG}", "python/object/apply:os.system"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_configuration_in_a_run_folder_is_read_as_data(tmp_path, mark, planted):
    text, said = PLANTED[planted]
    run = ["--output_dir", str(tmp_path), "--resume", "true"]
    file = tmp_path / "config.yaml"
    file.write_text(f"{text.format(mark=mark)}\noutput_dir: {tmp_path}\n")
    with pytest.raises(ConfigError) as caught:
        parse_run(FinetuneConfig, run, kind="finetune", default="arcface")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_a_script_goes_on_with_nothing_that_a_folder_has_planted(tmp_path, mark):
    text = (ROOT / "configs/pretrain/default.yaml").read_text()
    config = yaml.safe_load(text)
    config["augment"] = {"class_path": "os.system", "init_args": {"command": f"touch {mark}"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code, err = watched(mark, "pretrain", "--output_dir", tmp_path, "--resume", "true")
    assert code == 2
    assert err.startswith("error: augment.class_path: os.system is a function; name a subclass of ")
    assert err.count("\n") == 1
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{{class_path: os.system, init_args: {{command: touch {mark}}}}}", "is not a key"),
        (
            "{{source: x, sequences: {{class_path: os.system, init_args: {{command: {mark}}}}}}}",
            "sequences.class_path: os.system is a function; leave it out",
        ),
        (TAG, "is no configuration of a run"),
        ("[1]", "data must be keys with values, got [1]"),
        ("{{batch_size: 0, source: x}}", "data.batch_size must be at least 1, got 0"),
    ],
)
def test_evaluation_reads_a_configuration_as_data(tmp_path, mark, data, said):
    file = tmp_path / "config.yaml"
    file.write_text(f"data: {data.format(mark=mark)}\n")
    with pytest.raises(ConfigError) as caught:
        data_of(tmp_path)
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)
    assert not mark.exists()


def test_a_script_evaluates_nothing_that_a_folder_has_planted(tmp_path, mark, gray):
    backbone = TimmBackbone(gray, name="resnet18", width=0.25)
    arguments = {"name": "resnet18", "width": 0.25}
    save(backbone, tmp_path / "backbone", "ssl_dml.backbones.TimmBackbone", arguments, trained={})
    spec = {"class_path": "os.system", "init_args": {"command": f"touch {mark}"}}
    config = {"data": {"source": "fashion_mini", "sequences": spec}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code, err = watched(mark, "evaluate", "--run", tmp_path)
    assert code == 2
    assert "config.yaml: sequences.class_path: os.system is a function; leave it out" in err
    assert "RAN" not in err
    assert not mark.exists()


OF_A_RUN = "the configuration of a run folder may not name it; if you trust it, add --trust true"


def resumed(folder, *more):
    run = ["--output_dir", str(folder), "--resume", "true", *more]
    return parse_run(FinetuneConfig, run, kind="finetune", default="arcface")


def recorded(folder, **changed):
    """A run folder whose record differs from that of the shipped configuration."""
    config = yaml.safe_load((ROOT / "configs/finetune/arcface.yaml").read_text()) | changed
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("place", ["augment", "augment.class_path", "head.init_args.heads.a"])
def test_what_a_run_folder_names_is_not_imported_unless_trusted(tmp_path, place, imported):
    spec = {"class_path": "own_parts.Mine", "init_args": {}}
    if place.startswith("head"):
        margin = {"margin": "ssl_dml.margins.ArcFace"}
        inner = {"heads": {"a": {"class_path": "own_parts.Forwards", "init_args": margin}}}
        changed = {"head": {"class_path": "ssl_dml.heads.WeightedSum", "init_args": inner}}
    else:
        changed = {"augment": spec if place.endswith("path") else "own_parts.Mine"}
    # A record that says it is trusted, and where the run is, says nothing.
    recorded(tmp_path, **changed, trust=True, output_dir="/elsewhere")
    if imported:
        importlib.import_module("own_parts")
    with pytest.raises(ConfigError) as caught:
        resumed(tmp_path)
    assert str(caught.value).startswith(place)
    assert "own_parts." in str(caught.value)
    assert str(caught.value).endswith(OF_A_RUN)
    assert ("own_parts" in sys.modules) == imported
    config, values = resumed(tmp_path, "--trust", "true")
    assert "own_parts" in sys.modules
    assert (config.trust, config.output_dir) == (True, tmp_path)
    assert "own_parts." in str(values)


def test_a_record_of_known_components_is_taken_but_not_its_trust(tmp_path):
    recorded(tmp_path, trust=True, output_dir="/elsewhere", optimizer={
        "class_path": "timm.optim.Lars", "init_args": {"lr": 0.1},
    })  # fmt: skip
    config, _ = resumed(tmp_path)
    assert (config.trust, config.output_dir) == (False, tmp_path)
    for name in ("torch.optim.evil.Thing", "torch.nn.Linear", "ssl_dml.console.os.system"):
        recorded(tmp_path, optimizer={"class_path": name, "init_args": {"lr": 0.1}})
        with pytest.raises(ConfigError, match=r"^optimizer\.class_path: "):
            resumed(tmp_path)


@pytest.mark.usefixtures("own")
def test_ones_own_configuration_names_what_it_likes_again_afterwards(tmp_path):
    recorded(tmp_path, augment="own_parts.Mine")
    with pytest.raises(ConfigError):
        resumed(tmp_path)
    schema = schema_of("augment", FIELDS["augment"][0])
    assert parse(schema, ["--augment", "own_parts.Mine"])[1]["augment"]["class_path"]
    file = tmp_path / "config.yaml"
    known = parse(FinetuneConfig, [f"--config={file}"], packages=["own_parts"])[0]
    assert known.augment


# Tells whether reading a component without types runs what lies in the current folder.
FROM_HERE = """
from ssl_dml.config import parse_run
from ssl_dml.commands.pretrain import PretrainConfig
args = ["--output_dir", "run", "--optimizer.class_path=timm.optim.Lars", "--optimizer.lr=0.1"]
parse_run(PretrainConfig, args, kind="pretrain", default="default")
"""


def test_nothing_of_the_current_folder_is_imported(tmp_path, mark):
    (tmp_path / "program").mkdir()
    program = tmp_path / "program" / "program.py"
    program.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{FROM_HERE}")
    for name in ("json", "typing", "inspect"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()")
    ended = completed(program)
    assert ended.returncode == 0, ended.stderr
    assert not mark.exists()
