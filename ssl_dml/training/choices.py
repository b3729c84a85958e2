"""What pretraining does by default, chosen by what was understood of the samples."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ssl_dml.data.traits import Kind, Traits
from ssl_dml.given import is_open


class Recipe(NamedTuple):
    """What suits a kind of images.

    Attributes:
        views: Class in ``ssl_dml.augment``.
        crops: Arguments of its crops that are not the usual ones.
        more: Its other arguments.
        temperature: Of the loss.
        network: Class in ``ssl_dml.backbones``.
        whiten: Dimensions of a whitening of the features; None for none.
    """

    views: str
    crops: dict[str, Any]
    more: dict[str, Any]
    temperature: float = 0.1
    network: str = "TimmBackbone"
    whiten: int | None = None


# Chosen on held-out parts of sets of each kind. docs/benchmarks.md has the table of what helps and
# what harms, under Invariances.
TABLE: dict[Kind, Recipe] = {
    "gray": Recipe("Gray", {"scale": [0.2, 1.0], "flip": 0.5}, {}),
    "glyphs": Recipe(
        "Gray", {"resolution": 0.75, "scale": [0.4, 1.0], "flip": 0.0, "degrees": 10.0},
        {"blur": 0.3},
    ),
    "color": Recipe("Color", {"scale": [0.2, 1.0], "flip": 0.5}, {}),
    "drawings": Recipe(
        "Color", {"scale": [0.6, 1.0], "flip": 0.0}, {}, network="EdgeBackbone"
    ),
    "bands": Recipe("ManyChannel", {"scale": [0.2, 1.0], "flip": 0.5}, {}),
}  # fmt: skip
SMALL = {"width": 0.25, "options": {"layers": [1, 1, 1, 1], "zero_init_last": False}}
LARGE = {"width": 1.0, "options": {"zero_init_last": False}}
SEEN, FEWEST, MOST = 360_000, 10, 200  # samples of all epochs, and limits of their number
SEEN_THERE, FEWEST_THERE, MOST_THERE = 128_000_000, 100, 800  # on an accelerator
BATCH, BATCHES = 256, 4  # the usual batch, and how many a small set has at least
NEIGHBORS = 20
WHITENED, SPEED, WINDOW = 80, 0.15, 0.75  # of log-mel statistics, and of the views of audio


class Choice(NamedTuple):
    """The value of a key, and why."""

    value: Any
    why: str


def choices(traits: Traits) -> dict[str, Choice]:
    """The value of each key that follows from the traits, and why.

    Args:
        traits: What was understood. For sequences without a unit of time there is nothing to
            choose: no recipe was measured on such.

    >>> gray = Traits(images=True, channels=1, side=28, samples=10_000, class_size=1_000)
    >>> {key: choice.value for key, choice in choices(gray).items() if key.startswith("train")}
    {'train.epochs': 36}
    """
    if traits.kind == "series":
        return {}
    found = _audio(traits) if traits.kind == "audio" else _images(traits)
    batch = _batch(traits.samples)
    if batch < BATCH:
        found["data.batch_size"] = Choice(batch, f"{traits.samples:,} samples are few")
    if traits.class_size is not None and traits.class_size <= NEIGHBORS:
        size, many = traits.class_size, "s" * (traits.class_size != 1)
        why = f"a class typically has {size} sample{many}"
        found["evaluation.k"] = Choice(max(1, size - 1), why)
    return found


def _images(traits: Traits) -> dict[str, Choice]:
    own, there = TABLE[traits.kind], traits.accelerator
    crops = {"views": 2, "resolution": None, **own.crops}
    seen, fewest, most = (SEEN_THERE, FEWEST_THERE, MOST_THERE) if there else (SEEN, FEWEST, MOST)
    epochs = min(most, max(fewest, round(seen / traits.samples)))
    size, where = (LARGE, "an accelerator") if there else (SMALL, "a processor")
    network = _part(f"backbones.{own.network}", name="resnet18", stem="auto", **size)
    found = {
        "augment": Choice(_part(f"augment.{own.views}", crops=crops, **own.more), traits.kind),
        "backbone": Choice(network, f"{traits.kind}, {where}"),
        "method.init_args.temperature": Choice(own.temperature, traits.kind),
        "train.epochs": Choice(epochs, f"{traits.samples:,} samples, {where}"),
    }
    return found if own.whiten is None else {**found, "whiten": Choice(own.whiten, traits.kind)}


def _audio(traits: Traits) -> dict[str, Choice]:
    """What ``configs/pretrain/log_mel.yaml`` has: statistics need no network and no epochs."""
    window = max(2, round(WINDOW * traits.side))
    views = {"views": 2, "window": window, "speed": SPEED, "noise": 0.0, "mask": 0.0}
    found: dict[str, Any] = {
        "augment": _part("augment.SequenceViews", **views),
        "backbone": _part("backbones.LogMelBackbone", parts=8),
        "whiten": WHITENED,
        "whiten_by": "views",
        "train.steps": 1,
        "train.warmup_epochs": 0.0,
    }
    return {key: Choice(value, traits.kind) for key, value in found.items()}


def _part(path: str, **init_args: Any) -> dict[str, Any]:  # noqa: ANN401
    """A component of the toolkit."""
    return {"class_path": f"ssl_dml.{path}", "init_args": init_args}


def _batch(samples: int) -> int:
    """A power of 2 of which a small set has four batches; 256 for others.

    >>> [_batch(samples) for samples in (1, 9, 500, 1_023, 1_024)]
    [2, 2, 64, 128, 256]
    """
    return min(BATCH, max(2, 1 << max(0, (samples // BATCHES).bit_length() - 1)))


def open_choices(chosen: Mapping[str, Choice], given: Mapping[str, Any]) -> dict[str, Choice]:
    """The choices that nobody made already.

    Args:
        chosen: By key.
        given: Keys that were set, nested; see :func:`~ssl_dml.given.given_keys`.

    >>> few = choices(Traits(images=True, channels=1, side=28, samples=100))
    >>> sorted(open_choices(few, {"augment": "mine.Views", "train": {"steps": "5"}}))
    ['backbone', 'data.batch_size', 'method.init_args.temperature']
    """
    closed = {key for key in chosen if not is_open(key, given)}
    train = given.get("train", {})
    if "steps" in train or "epochs" in train:
        closed |= {"train.steps", "train.epochs", "train.warmup_epochs"}
    if given.get("init") is not None:  # which names the network
        closed |= {"backbone"}
    if given.get("nested") is not None:  # whose prefixes a whitening would mix
        closed |= {"whiten", "whiten_by"}
    return {key: choice for key, choice in chosen.items() if key not in closed}


def words_of(chosen: Mapping[str, Choice]) -> list[str]:
    """The choices as words of a command line, which come before those of the user.

    >>> words_of({"train.epochs": Choice(36, ""), "whiten_by": Choice("views", "")})
    ['--train.epochs=36', '--whiten_by=views']
    """
    values = {key: choice.value for key, choice in chosen.items()}
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in values.items()
    ]


def lines_of(traits: Traits, chosen: Mapping[str, Choice]) -> list[str]:
    """The choices for people: what the samples were taken for, and each key, in a line each.

    >>> traits = Traits(images=True, channels=3, side=64, samples=9, flat=0.9, two_tone=0.25)
    >>> lines_of(traits, {"train.epochs": Choice(200, "9 samples, a processor")})
    ... # doctest: +NORMALIZE_WHITESPACE
    ['taken for drawings (3 channels; 90% on a flat ground, 25% of two tones); chosen unless set:',
     '  --train.epochs 200: 9 samples, a processor']
    """
    head = f"taken for {traits.kind} ({traits.reason}); chosen unless set:"
    return [head, *(f"  --{key} {_short(one.value)}: {one.why}" for key, one in chosen.items())]


def _short(value: Any) -> str:  # noqa: ANN401
    """A value in few words: of a component its class, and its arguments that are no defaults."""
    if not isinstance(value, dict):
        return str(value)
    name = value["class_path"].rpartition(".")[2]
    return f"{name} {json.dumps(value['init_args'])}".replace('"', "")
