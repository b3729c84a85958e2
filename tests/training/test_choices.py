from typing import Any

import pytest
import torch

from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import parse
from ssl_dml.data.traits import Traits
from ssl_dml.given import given_keys
from ssl_dml.training.choices import TABLE, Choice, choices, lines_of, open_choices, words_of
from ssl_dml.types import ImageSpec, SequenceSpec, Views

GRAY: dict[str, Any] = {"images": True, "channels": 1, "side": 28, "samples": 10_000}
KINDS: dict[str, dict[str, Any]] = {
    "gray": GRAY,
    "glyphs": {**GRAY, "flat": 1.0, "two_tone": 1.0},
    "color": {**GRAY, "channels": 3},
    "drawings": {**GRAY, "channels": 3, "flat": 1.0},
    "bands": {**GRAY, "channels": 6},
    "audio": {"images": False, "channels": 1, "side": 16_000, "samples": 600,
              "sampling_rate": 16_000},
}  # fmt: skip


def traits_of(kind: str, **given: Any) -> Traits:
    return Traits(**{**KINDS[kind], **given})


def chosen(**given):
    return {key: choice.value for key, choice in choices(traits_of("gray", **given)).items()}


def parsed(traits, *args):
    found = open_choices(choices(traits), given_keys(list(args)))
    words = [*words_of(found), "--data.source=x", *args]
    either = ("train.steps", "train.epochs")
    return parse(PretrainConfig, words, kind="pretrain", default="default", either=either)


@pytest.mark.parametrize("kind", KINDS)
def test_choices_of_every_kind_build_a_run(kind):
    traits = traits_of(kind)
    assert traits.kind == kind
    config, values = parsed(traits)
    if kind == "audio":
        spec = SequenceSpec(channels=1, length=16_000, mean=(0.0,), std=(1.0,), sampling_rate=16000)
        assert (config.train.steps, config.train.epochs, config.whiten) == (1, None, 80)
    else:
        count = traits.channels
        spec = ImageSpec(channels=count, size=28, mean=(0.5,) * count, std=(0.2,) * count)
        assert values["augment"]["class_path"] == f"ssl_dml.augment.{TABLE[kind].views}"
        assert config.train.epochs == 36
    config.augment(spec)
    assert config.backbone(spec).feature_dim > 0


@pytest.mark.parametrize(("kind", "name"), [("gray", "default"), ("glyphs", "hangul")])
def test_samples_of_the_toolkit_are_trained_on_as_measured(kind, name):
    """But for its epochs, a choice is the configuration whose comment states what it reaches."""
    measured, written = parse(PretrainConfig, [], kind="pretrain", default=name)
    config, values = parsed(traits_of(kind, class_size=24))
    spec = ImageSpec(channels=1, size=28, mean=(0.5,), std=(0.2,))
    assert config.data.batch_size == measured.data.batch_size
    assert str(config.backbone(spec)) == str(measured.backbone(spec))
    for key in ("method", "optimizer", "whiten"):
        assert values[key] == written[key]
    for key in ("warmup_epochs", "lr_scaling", "clip_norm", "ema"):
        assert values["train"][key] == written["train"][key]
    images, views = torch.randint(0, 256, (8, 1, 28, 28), dtype=torch.uint8), list[Views]()
    for one in (config, measured):
        torch.manual_seed(0)
        views.append(one.augment(spec)(images))
    assert all(map(torch.equal, *views))


def test_sequences_without_a_unit_of_time_have_no_recipe():
    assert choices(Traits(images=False, channels=2, side=50, samples=7, class_size=3)) == {}


@pytest.mark.parametrize(
    ("samples", "epochs", "there"),
    [(1, 200, 800), (1_800, 200, 800), (10_000, 36, 800), (36_000, 10, 800), (320_000, 10, 400),
     (1_281_167, 10, 100), (10**9, 10, 100)],
)  # fmt: skip
def test_epochs_follow_the_number_of_samples(samples, epochs, there):
    assert chosen(samples=samples)["train.epochs"] == epochs
    assert chosen(samples=samples, accelerator=True)["train.epochs"] == there


@pytest.mark.parametrize(
    ("samples", "batch"), [(1, 2), (8, 2), (16, 4), (1_023, 128), (1_024, None), (10**7, None)]
)
def test_a_small_set_has_small_batches(samples, batch):
    assert chosen(samples=samples).get("data.batch_size") == batch


@pytest.mark.parametrize(
    ("class_size", "k"), [(None, None), (1, 1), (2, 1), (20, 19), (21, None), (1000, None)]
)
def test_no_more_neighbors_vote_than_a_class_has(class_size, k):
    assert chosen(class_size=class_size).get("evaluation.k") == k


def test_an_accelerator_trains_the_whole_network():
    small, large = (chosen(accelerator=one)["backbone"]["init_args"] for one in (False, True))
    assert (small["width"], large["width"]) == (0.25, 1.0)
    assert "layers" not in large["options"]


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        (["--augment=ssl_dml.augment.Auto"], {"augment"}),
        (["--train.steps=5"], {"train.epochs"}),
        (["--train.epochs=5"], {"train.epochs"}),
        (["--train.warmup_epochs=0"], set()),
        (["--init=runs/x"], {"backbone"}),
        (["--init=null"], set()),
        (["--method=ssl_dml.methods.MoCo"], {"method.init_args.temperature"}),
        (["--method.init_args.temperature=0.5"], {"method.init_args.temperature"}),
        (["--data.batch_size=8"], {"data.batch_size"}),
        (["--evaluation.k=2"], {"evaluation.k"}),
    ],
)
def test_what_somebody_set_stays(args, kept):
    every = choices(traits_of("drawings", samples=100, class_size=4))
    left = open_choices(every, given_keys(args))
    assert every.keys() - left.keys() == kept


@pytest.mark.parametrize("word", ["--whiten=null", "--whiten=64", "--nested=[16, 640]"])
def test_a_whitening_stays_away_where_it_is_not_wanted(word):
    config, _ = parsed(traits_of("audio"), word)
    assert config.whiten == (64 if word.endswith("64") else None)


def test_an_argument_of_a_chosen_component_is_merged():
    args = ["--augment.init_args.crops.flip=0.25", "--backbone.init_args.cells=4"]
    config, values = parsed(traits_of("drawings"), *args)
    crops = values["augment"]["init_args"]["crops"]
    assert (crops["flip"], tuple(crops["scale"])) == (0.25, tuple(TABLE["drawings"].crops["scale"]))
    assert values["backbone"]["init_args"]["cells"] == 4
    assert config.whiten == TABLE["drawings"].whiten


def test_epochs_of_audio_leave_its_one_step_out():
    config, _ = parsed(traits_of("audio"), "--train.epochs=3")
    assert (config.train.steps, config.train.epochs) == (None, 3)


def test_every_choice_is_said_in_a_line_with_its_key():
    traits = traits_of("drawings", samples=100, class_size=4)
    lines = lines_of(traits, choices(traits))
    assert lines[0].startswith("taken for drawings (3 channels; 100% on a flat ground")
    assert len(lines) == 1 + len(choices(traits)) <= 9
    for key, line in zip(choices(traits), lines[1:], strict=True):
        assert line.startswith(f"  --{key} ")
    assert "  --evaluation.k 3: a class typically has 4 samples" in lines


def test_words_read_back():
    words = words_of({"a": Choice({"b": [0.5, None]}, ""), "c": Choice(None, "")})
    assert words == ['--a={"b": [0.5, null]}', "--c=null"]
