"""A resumed run uses what its record says, or refuses it: every key of both commands."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState, GradientState, PartialState
from PIL import Image

from ssl_dml.commands import finetune, pretrain
from ssl_dml.reading import digest
from ssl_dml.training.files import read, write
from ssl_dml.training.manifest import write_metadata
from ssl_dml.training.resuming import changes_between
from ssl_dml.types import ConfigError

COMMANDS = {"pretrain": pretrain.main, "finetune": finetune.main}
SMALL = {
    "data.batch_size": 8, "data.image_size": 8, "train.steps": 4, "train.warmup_epochs": 0,
    "train.log_every": 1, "train.save_every": 2, "train.keep": 9, "train.threads": 1,
}  # fmt: skip
OWN = {
    "pretrain": {"evaluation.k": 3, "optimizer.init_args.lr": 0.5},
    "finetune": {"validation.fraction": "null"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label in "abcd":
        (root / label).mkdir()
        for i in range(8):
            name = "1.bmp" if (label, i) == ("a", 1) else f"{i}.png"  # in one, bytes are pixels
            Image.fromarray(rng.integers(0, 255, (8, 8)).astype(np.uint8)).save(root / label / name)
    return root


def command(kind, folder, **keys):
    """Run a command in this process, of which it leaves nothing."""
    args = [f"--{key}={value}" for key, value in {"output_dir": folder, **keys}.items()]
    threads = torch.get_num_threads()
    try:
        alone()
        return COMMANDS[kind](args)
    finally:
        alone()
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def alone():
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory):
    folders = {kind: tmp_path_factory.mktemp("runs") / kind for kind in COMMANDS}
    for kind, folder in folders.items():
        command(kind, folder, **{"data.source": images}, **SMALL, **OWN[kind])
    return folders


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def rates(folder):
    return {row["step"]: row["train/lr"] for row in rows(folder) if "train/lr" in row}


def cosine(step, steps):
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def at(values, key):
    for name in key.split("."):
        values = values[name]
    return values


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("pretrain", "data.image_size", 12),
        ("pretrain", "data.channels", 3),
        ("pretrain", "data.value_range", "[0,9]"),
        ("pretrain", "data.mean", "[0.1]"),
        ("pretrain", "data.std", "[0.1]"),
        ("pretrain", "data.image_column", "x"),
        ("pretrain", "data.label_column", "x"),
        ("pretrain", "data.use_labels", "false"),
        ("pretrain", "data.missing_labels", "false"),
        ("pretrain", "data.use_splits", "false"),
        ("pretrain", "data.max_pixels", 100),
        ("pretrain", "backbone.init_args.width", 0.5),
        ("pretrain", "backbone.init_args.options", "{layers: [1, 1, 1, 1], drop_path_rate: 0.5}"),
        ("pretrain", "method.class_path", "ssl_dml.methods.DCL"),
        ("pretrain", "method.init_args.temperature", 0.5),
        ("pretrain", "optimizer.class_path", "torch.optim.AdamW"),
        ("pretrain", "train.accumulation", 2),
        ("pretrain", "train.ema", 0.9),
        ("pretrain", "adapt.layer_decay", 0.5),
        ("pretrain", "evaluation.k", 2),
        ("pretrain", "guard.patience", 2),
        ("finetune", "neck", "none"),
        ("finetune", "embedding_dim", 7),
        ("finetune", "head.init_args.margin.init_args.scale", 9.0),
        ("finetune", "finetune.freeze_epochs", 1.0),
        ("finetune", "finetune.backbone_lr_scale", 0.5),
        ("finetune", "finetune.layer_decay", 0.5),
        ("finetune", "finetune.head_lr_scale", 2.0),
        ("finetune", "labels.classes_per_batch", 2),
        ("finetune", "labels.per_class", 4),
        ("finetune", "validation.by", "samples"),
        ("finetune", "validation.fraction", 0.5),
        ("finetune", "seed", 3),
        ("finetune", "data.batch_size", 4),
    ],
)
def test_what_the_first_part_has_decided_is_refused(runs, kind, key, value):
    folder = runs[kind]
    before = (folder / "config.yaml").read_text()
    with pytest.raises(ValueError) as caught:
        command(kind, folder, resume="true", **{"train.steps": 6, key: value})
    said = str(caught.value)
    assert "\n" not in said
    if isinstance(caught.value, ConfigError):
        assert key in said
        assert "start anew from its weights with --init" in said or "data." in key
    else:
        assert "was made with" in said
    assert (folder / "config.yaml").read_text() == before


def test_another_start_is_refused(runs):
    with pytest.raises(ConfigError, match=r"init is .*, and the run that is resumed has None"):
        command("pretrain", runs["pretrain"], resume="true", init=runs["pretrain"])


def copied(runs, kind, tmp_path):
    return shutil.copytree(runs[kind], tmp_path / kind)


def test_a_finished_run_goes_on_by_the_new_schedule(runs, tmp_path, capsys):
    folder = copied(runs, "pretrain", tmp_path)
    before = rates(folder)
    command("pretrain", folder, resume="true", **{"train.steps": 8})
    found = rates(folder)
    assert [found[step] for step in before] == [before[step] for step in before]
    peak = 0.5 * 8 / 256
    for step in (5, 6, 7, 8):
        assert found[step] == pytest.approx(peak * cosine(step, 8), abs=1e-12)
    assert "train.steps 4 -> 8" in capsys.readouterr().err
    # The rate of the first step after the end of the old schedule is not that end, which is 0.
    weights = [read(folder / f"checkpoints/step_{step}/state.pt")["model"] for step in (4, 6)]
    assert any(not torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_arguments_of_the_optimizer_hold_from_the_checkpoint_on(runs, tmp_path):
    folder = copied(runs, "pretrain", tmp_path)
    options = {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.25}
    keys = {f"optimizer.init_args.{name}": value for name, value in options.items()}
    command("pretrain", folder, resume="true", **{"train.steps": 8}, **keys)
    peak = 0.01 * 8 / 256
    found = rates(folder)
    for step in (5, 6, 7, 8):
        assert found[step] == pytest.approx(peak * cosine(step, 8), abs=1e-12)
    groups = read(folder / "checkpoints/step_8/state.pt")["optimizer"]
    for group in groups["param_groups"]:
        assert group["momentum"] == 0.5
        assert group["initial_lr"] == pytest.approx(peak)
    assert [group["weight_decay"] for group in groups["param_groups"]] == [0.25, 0.0]
    recorded = yaml.safe_load((folder / "config.yaml").read_text())
    assert recorded["optimizer"]["init_args"] | options == recorded["optimizer"]["init_args"]
    # Once more as it is: nothing has changed, and nothing is refused.
    command("pretrain", folder, resume="true", **{"train.steps": 10})
    assert rates(folder)[9] == pytest.approx(peak * cosine(9, 10), abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("pretrain", {"train.lr_scaling": "none"}),
        ("pretrain", {"train.epochs": 2.0}),
        ("pretrain", {"train.warmup_epochs": 0.25}),
        ("pretrain", {"train.clip_norm": 0.5, "train.encode_chunk": 4, "train.log_every": 2}),
        ("pretrain", {"train.precision": "bf16", "train.save_every": 3, "train.keep": 1}),
        ("pretrain", {"train.deterministic": "true", "train.threads": 2}),
        ("pretrain", {"evaluation.every_epochs": 1}),
        ("pretrain", {"augment.init_args.crops.flip": 0.0, "trust": "true"}),
        ("pretrain", {"data.on_error": "skip", "data.workers": 1, "data.memory_fraction": 0.2}),
        ("finetune", {"validation.every_epochs": 1}),
    ],
)
def test_what_can_change_is_said_and_recorded(runs, tmp_path, capsys, kind, keys):
    folder = copied(runs, kind, tmp_path)
    more = keys if "train.epochs" in keys else {"train.steps": 6, **keys}
    command(kind, folder, resume="true", **more)
    said = capsys.readouterr().err
    recorded = yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in more.items():
        assert re.search(rf"\b{re.escape(key)} [^;]* -> ", said), key
        assert str(at(recorded, key)).lower() == str(value)
    assert rows(folder)[-1]["step"] > 4
    if "train.lr_scaling" in keys:
        assert rates(folder)[5] == pytest.approx(0.5 * cosine(5, 6))


def test_more_images_are_refused_by_their_number_with_the_way_on(images, runs, tmp_path):
    folder, more = copied(runs, "pretrain", tmp_path), tmp_path / "images"
    shutil.copytree(images, more)
    shutil.copy(more / "a/2.png", more / "a/99.png")
    words = rf"made with samples 32 and this run has 33; .* --init {re.escape(str(folder))} "
    with pytest.raises(ValueError, match=words):
        command("pretrain", folder, resume="true", **{"data.source": more, "train.steps": 6})
    command(
        "pretrain", tmp_path / "next",
        **{"data.source": more, "init": folder, **SMALL, **OWN["pretrain"]},
    )  # fmt: skip
    assert rows(tmp_path / "next")[-1]["step"] == 4


def test_the_same_images_elsewhere_go_on(images, runs, tmp_path):
    folder, moved = copied(runs, "pretrain", tmp_path), tmp_path / "images"
    shutil.copytree(images, moved)
    command("pretrain", folder, resume="true", **{"data.source": moved, "train.steps": 6})
    assert rows(folder)[-1]["step"] == 6


def test_without_a_checkpoint_nothing_has_been_decided(runs, tmp_path):
    folder = copied(runs, "pretrain", tmp_path)
    shutil.rmtree(folder / "checkpoints")
    command("pretrain", folder, resume="true", **{"method.init_args.temperature": 0.5})
    recorded = yaml.safe_load((folder / "config.yaml").read_text())
    assert recorded["method"]["init_args"]["temperature"] == 0.5


def test_changes_between_values_of_any_depth():
    assert changes_between({"a": None}, {"a": {"b": 1}}) == {"a": (None, {"b": 1})}
    assert changes_between({"a": [1]}, {"a": [1], "b": 2}) == {"b": (None, 2)}
    assert changes_between(1, 1) == {}


def remove(path):
    path.unlink()


def halve(path):
    path.write_text(path.read_text()[:200])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove, r"config\.yaml is missing; to go on with a copy of it: --config .*step_4"),
        (halve, r"config\.yaml is damaged: the following .* each checkpoint keeps a copy of it"),
        (
            lambda path: path.write_text("[]"),
            r"config\.yaml must hold keys with values",
        ),
        (lambda path: path.write_bytes(b"\0\xff"), r"config\.yaml is no YAML"),
    ],
)
def test_a_configuration_that_is_gone_is_no_new_run(runs, tmp_path, damage, words):
    folder = copied(runs, "pretrain", tmp_path)
    damage(folder / "config.yaml")
    before = rows(folder)
    for resume in ("true", "yes", "True", "on"):
        with pytest.raises(ConfigError, match=words):
            command("pretrain", folder, resume=resume, **{"train.steps": 6})
    assert rows(folder) == before
    copy = folder / "checkpoints/step_4/config.yaml"
    command("pretrain", folder, config=copy, resume="true", **{"train.steps": 5})
    assert rows(folder)[-1]["step"] == 5


@pytest.mark.parametrize("word", ["1", "y", "'true'", "[true]", "null"])
def test_words_for_true_that_one_parser_alone_would_take(runs, word):
    before = (runs["pretrain"] / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="resume"):
        command("pretrain", runs["pretrain"], resume=word)
    assert (runs["pretrain"] / "config.yaml").read_text() == before


def test_an_edited_configuration_is_refused_or_said(runs, tmp_path, capsys):
    folder = copied(runs, "pretrain", tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["method"]["init_args"] = {**config["method"]["init_args"], "temperature": 0.9}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"temperature is 0.9, and the run that is resumed has"):
        command("pretrain", folder, resume="true", **{"train.steps": 6})
    config = yaml.safe_load((runs["pretrain"] / "config.yaml").read_text())
    config["train"]["steps"] = 6
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command("pretrain", folder, resume="true")
    assert "train.steps 4 -> 6" in capsys.readouterr().err
    assert rows(folder)[-1]["step"] == 6


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (999, "is of step 4, and its schedule of step 999"),
        ("4", r"scheduler.last_epoch must be a finite number, got '4'"),
    ],
)
def test_a_schedule_of_another_step_is_refused(runs, tmp_path, step, words):
    folder = copied(runs, "pretrain", tmp_path)
    place = folder / "checkpoints/step_4"
    state = read(place / "state.pt")
    state["scheduler"]["last_epoch"] = step
    write(place / "state.pt", state)
    about = json.loads((place / "checkpoint.json").read_text())
    about["files"]["state.pt"] = digest(place / "state.pt")
    write_metadata(place, {key: value for key, value in about.items() if key != "digest"})
    with pytest.raises(ValueError, match=words):
        command("pretrain", folder, resume="true", **{"train.steps": 6})


@pytest.mark.parametrize("value", ["null", "[a]"])
def test_a_run_folder_that_is_no_name(value):
    with pytest.raises(ConfigError, match="--output_dir must name the folder of the run, got"):
        command("pretrain", value, resume="true")


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_images_that_changed_at_equal_size_are_refused(images, runs, tmp_path, fraction):
    folder, other = copied(runs, "pretrain", tmp_path), tmp_path / "images"
    shutil.copytree(images, other)
    keys = {"data.source": other, "data.memory_fraction": fraction, "data.cache_dir": tmp_path}
    data = bytearray((other / "a/1.bmp").read_bytes())
    data[-1] ^= 1
    (other / "a/1.bmp").write_bytes(data)
    with pytest.raises(ValueError, match="was made with the content of its samples"):
        command("pretrain", folder, resume="true", **keys, **{"train.steps": 6})
    data[-1] ^= 1
    (other / "a/1.bmp").write_bytes(data)
    command("pretrain", folder, resume="true", **keys, **{"train.steps": 6})
    assert rows(folder)[-1]["step"] == 6
