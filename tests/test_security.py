"""No configuration runs anything: every component key, everything that is no component of it.

What is promised is in docs/security.md.
"""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from launching import completed
from PIL import Image
from torch import nn
from watching import MARK, watch

from ssl_dml.__main__ import run
from ssl_dml.backbones import Backbone
from ssl_dml.commands.finetune import FinetuneConfig
from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.components import (
    _is_component,
    _leaves,
    _path,
    _subclasses,
    parser_of,
)
from ssl_dml.console import run_main

SCHEMAS = {"pretrain": PretrainConfig, "finetune": FinetuneConfig}
OWN_PLACES = ("home/.cache", "temporary")  # of stores, and of libraries
WAYS = ("file", "line", "run folder")
DEFAULTS = {"pretrain": "default", "finetune": "arcface"}
STRANGER = """
from ssl_dml.backbones import Backbone
open({mark!r}, "w").close()

def function(command=None) -> Backbone:
    raise SystemExit("called")

class Other:
    __init__ = function

class Own(Backbone):
    pass
"""


def arguments_of(cls):
    """Types of the arguments of a class, by name."""
    known = {action.dest: getattr(action, "_typehint", None) for action in parser_of(cls)._actions}
    return {name: hint for name, hint in known.items() if hint and not name.endswith(".help")}


def component_keys(cls, prefix, visited):
    """Each argument that is a component, with its kinds and the way to it, once."""
    for name, hint in arguments_of(cls).items():
        kinds = tuple(kind for kind in _leaves(hint) if _is_component(kind))
        if not kinds or (cls, name) in visited:
            continue
        visited.add((cls, name))
        yield (*prefix, name), kinds
        for inner in dict.fromkeys(_subclasses(kinds)) if nn.Module not in kinds else ():
            if (path := _path(inner)) and path.startswith("ssl_dml."):
                yield from component_keys(inner, (*prefix, name, path), visited)


@functools.cache
def keys():
    return [(name, *key) for name, cls in SCHEMAS.items() for key in component_keys(cls, (), set())]


def things(kinds):
    """What must not stand in the place of a component, by what it is."""
    example = next(path for cls in _subclasses(kinds) if (path := _path(cls)))
    spec = {"class_path": example, "init_args": {"no_such_argument": MARK}}
    return {
        "function": ["os.system", "builtins.exec", "ssl_dml.config.parse", "strangers.function"],
        "module": ["os", "os.path", "ssl_dml.console", "strangers"],
        "abstract class": ["abc.ABC", *(f"{k.__module__}.{k.__name__}" for k in kinds[:1])],
        "class of another kind": ["subprocess.Popen", "torch.nn.Linear", "strangers.Other"],
        "missing name": ["ssl_dml.Missing", "no_such_package.Thing", "strangers.Missing", "x", ""],
        "bad init_args": [spec, {**spec, "init_args": [MARK]}, {**spec, "init_args": 7}],
    }


def spelled(thing):
    """A name in the ways in which it may be given."""
    if isinstance(thing, dict):
        return [thing]
    return [thing, *({"class_path": thing, "init_args": one} for one in ({}, {"command": MARK}))]


def nested(key, value):
    """A configuration in which a key has a value; between keys stand the classes that have them."""
    name, *rest = key
    if rest:
        value = {"class_path": rest[0], "init_args": nested(rest[1:], value)}
    return {name: value}


@st.composite
def cases(draw):
    found = draw(st.sampled_from(keys()))
    kind = draw(st.sampled_from(sorted(things(found[2]))))
    value = draw(st.sampled_from(spelled(draw(st.sampled_from(things(found[2])[kind])))))
    return found, value, draw(st.sampled_from(WAYS))


@pytest.fixture(scope="module")
def seen():
    """What the hook has told; nothing is told where the list of places is None."""
    keys()  # imports and counts as no example's doing
    told, places = [], []
    watch(lambda line: told.append(line) if places else None, lambda: places)
    return told, places


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A module on the path that leaves a mark when it is imported."""
    (tmp_path / "code").mkdir()
    mark = tmp_path / "imported"
    (tmp_path / "code" / "strangers.py").write_text(STRANGER.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    yield mark
    sys.modules.pop("strangers", None)


def check(seen, stranger, capsys, case):
    """One line, exit code 2, and nothing else in the world."""
    (command, key, _), value, way = case
    told, places = seen
    folder = stranger.parent / "run"
    args = [command, "--processes", "1", "--output_dir", str(folder)]
    file = folder / "config.yaml" if way == "run folder" else stranger.parent / "own.yaml"
    folder.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(nested(key, value)))
    args += ["--resume", "true"] if way == "run folder" else []
    args += ["--config", DEFAULTS[command], "--config", str(file)] if way == "file" else []
    args += [f"--{key[0]}={json.dumps(nested(key, value)[key[0]])}"] if way == "line" else []
    sys.modules.pop("strangers", None)
    stranger.unlink(missing_ok=True)
    before = sorted(stranger.parent.rglob("*"))
    told.clear()
    places.append(stranger)
    try:
        with pytest.raises(SystemExit) as ended:
            run_main(lambda: run(args))
    finally:
        places.clear()
    said = capsys.readouterr().err
    assert ended.value.code == 2, (args, said)
    assert said.startswith("error: ") and said.count("\n") == 1, (args, said)
    assert key[0] in said, (args, said)
    own = str(stranger.parent / "code" / "strangers.py")  # which one's own may import
    assert [line for line in told if line != f"exec {own}" or way == "run folder"] == [], args
    after = [path for path in sorted(stranger.parent.rglob("*")) if path != stranger]
    assert after == before, args
    assert way != "run folder" or not stranger.exists(), args


def test_every_key_of_a_component_is_known():
    found = {(command, key[0]) for command, key, _ in keys()}
    assert found == {
        ("pretrain", name) for name in ("method", "augment", "backbone", "optimizer")
    } | {("finetune", name) for name in ("head", "augment", "backbone", "optimizer")}
    last = {key[-1] for _, key, _ in keys()}
    assert {"margin", "loss", "miner", "heads"} <= last


few = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=14,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)


@few
@given(case=cases())
@example(case=(("pretrain", ("backbone",), (Backbone,)), "strangers.Own", "run folder"))
@example(case=(("pretrain", ("augment",), ()), {"class_path": "os.system"}, "run folder"))
def test_what_is_no_component_is_refused(seen, stranger, capsys, case):
    check(seen, stranger, capsys, case)


@pytest.mark.slow
def test_all_that_is_no_component_is_refused(seen, stranger, capsys):
    for found in keys():
        for kind in things(found[2]).values():
            for thing in kind:
                for way in ("line", "run folder"):
                    for value in spelled(thing)[-1:]:
                        check(seen, stranger, capsys, (found, value, way))


# Runs commands one after the other in a process that tells what it does.
COMMANDS = """
import sys
from ssl_dml.__main__ import run
from watching import watch

def tell(line):
    with open({report!r}, "a") as file:
        print(line, file=file)

places = {places!r}
watch(tell, lambda: places)
for command in {commands!r}:
    run([*command, "--processes", "1"] if command[0] != "describe" else command)
sys.audit("os.system", "the last word")  # which is told, so nothing else was
"""


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for label in "abcd":
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 255, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    return tmp_path / "images"


def test_a_normal_run_starts_nothing_reaches_nobody_and_stays_in_its_folder(images, tmp_path):
    """Pretraining, evaluation, fine-tuning and description, with the workers of their data."""
    small = ["--data.source", str(images), "--data.batch_size", "8", "--train.steps", "1"]
    run_folder, tuned, sheet = (str(tmp_path / name) for name in ("run", "tuned", "sheet.png"))
    commands = [
        ["pretrain", *small, "--output_dir", run_folder],
        ["evaluate", "--run", run_folder, "--knn.ks", "[1]"],
        ["finetune", *small, "--output_dir", tuned, "--init", run_folder, "--labels.per_class=2",
         "--validation.by=samples"],
        ["describe", str(images), "--sheet", sheet],
    ]  # fmt: skip
    (tmp_path / "temporary").mkdir()
    report, program = tmp_path / "report", tmp_path / "program.py"
    places = [run_folder, tuned, sheet, str(report), *(str(tmp_path / n) for n in OWN_PLACES)]
    program.write_text(COMMANDS.format(report=str(report), places=places, commands=commands))
    env = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    ended = completed(program, env=env)
    assert ended.returncode == 0, ended.stderr
    assert Path(sheet).exists()
    assert report.read_text() == "os.system ('the last word',)\n"
