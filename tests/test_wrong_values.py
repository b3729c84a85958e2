"""No key of a configuration takes a value that it cannot have, nor says so at length.

Every key of the real schemas is given every wrong value, in a file and on the command line, up to
where a run would make its folder. It is refused in one line, by key, or it is a valid value.
"""

import json
import math
import sys
from contextlib import suppress

import pytest
from test_record import FREE, PARTICULAR, SCHEMAS, leaves

from ssl_dml.__main__ import run
from ssl_dml.commands import (
    compare,
    describe,
    embed,
    evaluate,
    export,
    finetune,
    pretrain,
    probe,
    report,
    start,
)
from ssl_dml.commands.compare import CompareConfig
from ssl_dml.commands.describe import DescribeConfig
from ssl_dml.commands.embed import EmbedConfig
from ssl_dml.commands.evaluate import EvaluateConfig
from ssl_dml.commands.export import ExportConfig
from ssl_dml.commands.probe import ProbeConfig
from ssl_dml.commands.report import ReportConfig
from ssl_dml.commands.start import StartConfig
from ssl_dml.console import run_main

VALUES = {
    "nan": ".nan",
    "infinity": ".inf",
    "minus infinity": "-.inf",
    "beyond floats": "1e999",
    "minus one": "-1",
    "zero": "0",
    "beyond integers": str(2**63),
    "far beyond": str(10**30),
    "empty": "''",
    "null": "null",
    "list": "[]",
    "nan in a list": "[.nan]",
    "dictionary": "{a: 1}",
    "long": "x" * 5000,
}
# What a number or a list of numbers must never be.
NUMBERS = ("nan", "infinity", "minus infinity", "beyond integers", "far beyond", "nan in a list")
BASES = {
    "pretrain": ["--config=default"],
    "finetune": ["--config=arcface"],
    "evaluate": ["--config=knn", "--run=run"],
    "probe": ["--run=run"],
    "compare": ["a", "b"],
    "describe": ["--data.source=fashion_mini"],
    "embed": ["--weights=timm:resnet18", "--data.source=fashion_mini", "--output=table"],
    "report": ["--table=table", "--runs=[]"],
    "export": ["--run=run", "--to=hub", "--output=folder"],
    "start": ["images"],
}
OTHERS = {
    "evaluate": EvaluateConfig,
    "probe": ProbeConfig,
    "compare": CompareConfig,
    "describe": DescribeConfig,
    "embed": EmbedConfig,
    "report": ReportConfig,
    "export": ExportConfig,
    "start": StartConfig,
}
FUNCTIONS = {
    "evaluate": ["knn.ks", "knn.temperatures", "linear.epochs", "linear.batch_size",
                 "linear.learning_rates", "linear.weight_decays", "linear.holdout", "linear.seed",
                 "retrieval.ks", "label_distances.ks", "health.k"],
    "compare": ["knn.ks", "knn.temperatures", "retrieval.ks", "verification.fars"],
}  # fmt: skip
SLOW = pytest.mark.slow


class ReachedError(Exception):
    """The configuration is accepted, and the run would begin."""


def keys(kind):
    schema = OTHERS[kind] if kind in OTHERS else SCHEMAS[kind][0]
    known = [key for key, _ in leaves(schema)] + [key for key in FREE if hasattr(schema, key)]
    lacking = [*FREE, *PARTICULAR] if kind in SCHEMAS else []
    return sorted({*known, *lacking, *FUNCTIONS.get(kind, [])})


def cases():
    """Every key, value and way to write it; a few of them in any case, in turn."""
    every = [
        (kind, key, value, typed)
        for kind in BASES
        for key in keys(kind)
        for value in VALUES
        for typed in (True, False)
    ]
    return every[::173], every


FEW, EVERY = cases()


def answer(kind, key, value, typed, folder, monkeypatch, capsys):
    """Exit code, or None where the run would begin, and what was printed."""

    def reached(*_, **__):
        raise ReachedError

    monkeypatch.chdir(folder)
    for module in (pretrain, finetune):
        monkeypatch.setattr(module, "claim", reached)
    monkeypatch.setattr(evaluate, "evaluate", reached)
    for module in (probe, compare, describe, embed, report, export, start):
        monkeypatch.setattr(module, module.__name__.rpartition(".")[2], reached)
    args = [kind, *BASES[kind]]
    if typed:
        args.append(f"--{key}={'' if value == 'empty' else VALUES[value]}")
    else:
        (folder / "given.yaml").write_text(f"{key}: {VALUES[value]}\n")
        args.append(f"--config={folder / 'given.yaml'}")
    code = None
    with suppress(ReachedError):
        try:
            run_main(lambda: run(args))
        except SystemExit as leave:
            code = leave.code
    return code, capsys.readouterr().err


def check(kind, key, value, typed, folder, monkeypatch, capsys):
    before = sorted(path.name for path in folder.iterdir())
    code, said = answer(kind, key, value, typed, folder, monkeypatch, capsys)
    where = (kind, key, value, typed, said)
    after = sorted(path.name for path in folder.iterdir() if path.name != "given.yaml")
    assert after == [name for name in before if name != "given.yaml"], where
    if code is None:
        assert said == "", where
        return "accepted"
    assert code == 2, where
    assert len(said.splitlines()) <= 2, where
    assert len(said) <= 600, where
    assert said.startswith("error: "), where
    assert key.split(".")[-1] in said, where
    for word in ("Namespace", "<class", "typing.", "Traceback", "Subtypes", "collections"):
        assert word not in said, where
    return "refused"


@pytest.fixture
def no_process():
    """Fails where a process is started or a socket is opened."""
    watched = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen")
    seen, on = [], [True]

    def hook(event, _):
        if on[0] and event.startswith((*watched, "socket.connect")):
            seen.append(event)

    sys.addaudithook(hook)
    yield
    on[0] = False
    assert not seen


@pytest.mark.usefixtures("no_process")
def test_a_few_wrong_values_are_refused_in_a_line(tmp_path, monkeypatch, capsys):
    found = [check(*case, tmp_path, monkeypatch, capsys) for case in FEW]
    assert found.count("refused") > len(found) / 2


@SLOW
@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("kind", BASES)
def test_every_wrong_value_is_refused_in_a_line(kind, tmp_path, monkeypatch, capsys):
    accepted, refused, texts = [], 0, text_keys(kind)
    for case in EVERY:
        if case[0] != kind:
            continue
        if check(*case, tmp_path, monkeypatch, capsys) == "accepted":
            accepted.append(case)
        else:
            refused += 1
    with capsys.disabled():
        print(f"\n{kind}: {refused} refused, {len(accepted)} accepted")
        for _, key, value, _ in sorted({(*case[:3], 0) for case in accepted}):
            print(json.dumps([key, value]))
    floats = float_keys(kind)
    wrong = [
        case
        for case in accepted
        if case[1] not in texts and case[2] in NUMBERS
        if not (case[1] in floats and "beyond" in case[2])  # which a float can be
    ]
    assert not wrong


def float_keys(kind):
    hints = dict(leaves(OTHERS[kind] if kind in OTHERS else SCHEMAS[kind][0]))
    return {key for key in keys(kind) if "float" in str(hints.get(key))} | {"linear.holdout"}


def text_keys(kind):
    """Keys that any text suits."""
    hints = dict(leaves(OTHERS[kind] if kind in OTHERS else SCHEMAS[kind][0]))
    return {
        key for key in keys(kind) if "str" in str(hints.get(key)) or "Path" in str(hints.get(key))
    } | {"output_dir", "run"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("pretrain", "method.init_args.temperature"),
        ("pretrain", "augment.init_args.crops.scale.1"),
        ("pretrain", "backbone.init_args.options.drop_rate"),
        ("finetune", "head.init_args.margin.init_args.margin"),
        ("finetune", "optimizer.init_args.weight_decay"),
    ],
)
def test_a_component_takes_no_number_that_is_none(kind, key, number, tmp_path, monkeypatch, capsys):
    words = {math.nan: ".nan", math.inf: ".inf", -math.inf: "-.inf"}
    text = next(word for value, word in words.items() if repr(value) == repr(number))
    name = key.removesuffix(".1")
    monkeypatch.setitem(VALUES, "number", f"[0.1, {text}]" if name != key else text)
    code, said = answer(kind, name, "number", False, tmp_path, monkeypatch, capsys)
    assert (code, said) == (2, f"error: {key} must be a finite number, got {number}\n")
