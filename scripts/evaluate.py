"""Probe a finished run: ``accelerate launch scripts/evaluate.py --config FILE --run FOLDER``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
import yaml
from accelerate import Accelerator

from ssl_dml.backbones import Backbone, load
from ssl_dml.config import ConfigError, fill, parse, run
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.data.dataset import decoded_for
from ssl_dml.data.labeled import numbers_of
from ssl_dml.evaluation import (
    embed,
    embed_split,
    encoder,
    knn,
    label_distances,
    linear_probe,
    probe_split,
    retrieval,
)
from ssl_dml.training.accelerator import use_threads
from ssl_dml.training.run_folder import write_json
from ssl_dml.types import EmbeddingTable

DEFAULT = Path(__file__).parents[1] / "configs" / "evaluate" / "knn.yaml"


@dataclass(frozen=True, kw_only=True)
class KnnConfig:
    """Votes of the nearest neighbors.

    Args:
        ks: Numbers of neighbors.
        temperatures: Sharpnesses of the vote.
    """

    ks: list[int] = field(default_factory=lambda: [20, 1, 10, 100, 200])
    temperatures: list[float] = field(default_factory=lambda: [0.07, 0.1])


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """A grid of linear classifiers, chosen on a held-out part of the gallery.

    Args:
        learning_rates: Candidates for a batch of 256.
        weight_decays: Candidates.
        epochs: Passes over the gallery.
        batch_size: Rows in a step.
        seed: Number the held-out part and the order depend on.
    """

    learning_rates: list[float] = field(default_factory=lambda: [0.01, 0.1, 0.3, 1.0, 3.0, 10.0])
    weight_decays: list[float] = field(default_factory=lambda: [0.0, 1e-4, 1e-3, 1e-2])
    epochs: int = 30
    batch_size: int = 256
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """A search among the test samples, each of which asks about the others.

    Args:
        ks: Numbers of nearest samples of which one is to be of the class.
        metric: What is nearest; for numbers it is Euclidean.
        continuous: Whether labels are numbers, of which distances are measured.
    """

    ks: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    metric: Literal["cosine", "euclidean"] = "cosine"
    continuous: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """A probe of a finished run.

    Args:
        run: The run folder.
        evaluator: Which probe.
        model: Which of its models: after the last step, or of fine-tuning the best by validation.
        knn: Settings of the first.
        linear: Settings of the second.
        retrieval: Settings of the third, whose classes need not be those of training.
    """

    run: Path
    evaluator: Literal["knn", "linear", "retrieval"]
    model: Literal["backbone", "best"] = "backbone"
    knn: KnnConfig = KnnConfig()
    linear: LinearConfig = LinearConfig()
    retrieval: RetrievalConfig = RetrievalConfig()


def main() -> int:
    """Load the backbone, embed both sides, measure, write."""
    config, _ = parse(EvaluateConfig, default=DEFAULT)
    settings = config.run / "config.yaml"
    if not settings.exists():
        raise ConfigError(f"--run {str(config.run)!r} is no run folder: it has no config.yaml")
    if config.model == "best" and not (config.run / "best").exists():
        raise ConfigError(
            f"--run {str(config.run)!r} has no best model: fine-tuning keeps one where it validates"
        )
    if not (config.run / "backbone").exists():
        raise ConfigError(
            f"--run {str(config.run)!r} has no backbone yet: finish it with --resume true"
        )
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    use_threads(None, accelerator.device)
    backbone = load(config.run / config.model).to(accelerator.device)
    try:
        section = yaml.safe_load(settings.read_text())["data"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{settings} is no configuration of a run: {error!r}") from error
    data = decoded_for(fill(DataConfig, section), backbone.inputs)
    train = load_train(data)
    measure = _retrieve if config.evaluator == "retrieval" else _probe
    words, results = measure(config, data, train, backbone, accelerator)
    if accelerator.is_main_process:
        print(f"{config.run}: {words}")
        print("\n".join(f"{name:32} {value:.4f}" for name, value in results.items()))
        name = config.evaluator if config.model == "backbone" else f"{config.evaluator}_best"
        write_json(config.run / f"{name}.json", results)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return 0


def _probe(
    config: EvaluateConfig,
    data: DataConfig,
    train: SampleSet,
    backbone: Backbone,
    accelerator: Accelerator,
) -> tuple[str, dict[str, float]]:
    """Who asks whom, and what a probe of the classes of training measures; on the first process."""
    split = probe_split(train, load_test(data, train))
    if isinstance(split, str):
        raise ConfigError(f"data.source {data.source!r}: {split}")
    if config.evaluator == "knn" and max(config.knn.ks) > len(split.gallery_rows):
        raise ConfigError(
            f"knn.ks must be at most the number of gallery rows, {len(split.gallery_rows)}; "
            f"got {max(config.knn.ks)}"
        )
    gallery, query = embed_split(
        encoder(backbone, accelerator.device), split, device=accelerator.device
    )
    if not accelerator.is_main_process:
        return split.description, {}
    evaluate = {"knn": knn, "linear": linear_probe}[config.evaluator]
    settings = asdict(getattr(config, config.evaluator))
    return split.description, evaluate(gallery, query, **settings)


def _retrieve(
    config: EvaluateConfig,
    data: DataConfig,
    train: SampleSet,
    backbone: Backbone,
    accelerator: Accelerator,
) -> tuple[str, dict[str, float]]:
    """Who asks whom, and what a search among the test samples finds; on the first process."""
    test = load_test(data, train)
    if test is None:
        raise ConfigError(
            f"data.source {data.source!r} has no test samples; data.test_source in "
            f"{config.run / 'config.yaml'} gives them"
        )
    if test.labels is None:
        raise ConfigError(
            f"data.source {data.source!r}: the test samples have no labels; sub-folders, or a "
            "label column, give them"
        )
    rows = (test.labels >= 0).nonzero()[:, 0]
    ks = config.retrieval.ks
    if not ks or min(ks) < 1 or max(ks) >= len(rows):
        raise ConfigError(
            f"retrieval.ks must be from 1 to the number of other test samples, {len(rows) - 1}; "
            f"got {ks}"
        )
    encode = encoder(backbone, accelerator.device)
    found = embed(encode, test, rows, device=accelerator.device)
    words = f"each of {len(rows):,} test samples asks about the others"
    if not accelerator.is_main_process:
        return words, {}
    table = EmbeddingTable(embeddings=found, labels=test.labels[rows])
    if config.retrieval.continuous:
        return words, label_distances(table, label_values=numbers_of(test.class_names), ks=ks)
    return words, retrieval(table, ks=ks, metric=config.retrieval.metric)


if __name__ == "__main__":
    run(main)
