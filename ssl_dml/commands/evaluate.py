"""Measure a finished run, or tables: ``ssl_dml evaluate --config knn|linear|retrieval --run X``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from jaxtyping import Int
from torch import Tensor

from ssl_dml.backbones import initial
from ssl_dml.backbones.saved import read_metadata
from ssl_dml.commands.measures import FUNCTIONS, MEASURES, shown_results
from ssl_dml.config import fill, parse
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.labeled import label_values_of
from ssl_dml.data.understood import announce_leak
from ssl_dml.evaluation import (
    ProbeSplit,
    embed,
    encoder,
    neighbors,
    probe_split,
    write_neighbors,
)
from ssl_dml.evaluation.embed import Encoder
from ssl_dml.evaluation.search import check_ks
from ssl_dml.evaluation.stored import stored_tables
from ssl_dml.files import write_json
from ssl_dml.progress import say
from ssl_dml.tables import EmbeddingTable
from ssl_dml.training.accelerator import use_threads
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import read_yaml


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """An evaluation of a finished run, or of stored tables.

    Args:
        run: The run folder.
        gallery: A table of ``ssl_dml embed`` to evaluate instead: of what is searched, or trained
            on.
        query: A table of what is searched for, or tested on; without it, retrieval searches for
            each row of the gallery among the others.
        evaluator: What is measured: weighted kNN, a linear probe, retrieval among test samples,
            or, where labels are continuous, distances of the labels of nearest neighbors.
        model: Which model of the run: after the last step, or the best by validation of
            fine-tuning, or by held-out training samples of pretraining.
        init: Weights to evaluate on the data of the run instead, named as a run names where it
            starts; a file is of the network of the run and takes its samples.
        neighbors: Nearest samples to list of each test sample, in ``neighbors.csv`` of the run.
        trust: Import the module of any class that a saved backbone names.
    """

    run: Path | None = None
    gallery: Path | None = None
    query: Path | None = None
    evaluator: Literal["knn", "linear", "retrieval", "label_distances"]
    model: Literal["backbone", "best"] = "backbone"
    init: str | None = None
    neighbors: int | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        if self.neighbors is not None and self.neighbors < 1:
            raise ConfigError(f"--neighbors must be at least 1, got {self.neighbors}")
        if self.gallery is None and self.run is None:
            raise ConfigError("name a run with --run FOLDER, or tables with --gallery TABLE")
        if self.gallery is None and self.query is not None:
            raise ConfigError("--query is a table beside that of --gallery; name both")


def model_folder(run: Path, model: str) -> Path:
    """Where a model of a run is.

    Raises:
        ConfigError: If this is no run, or the run has no such model.
    """
    if not (run / "config.yaml").exists():
        raise ConfigError(f"--run {str(run)!r} is no run folder: it has no config.yaml")
    if (run / model).exists():
        return run / model
    missing = {
        "best": "best model: fine-tuning keeps one where it validates, and pretraining where "
        "it goes on from --init with labels",
        "backbone": "backbone yet: finish it with --resume true",
    }
    raise ConfigError(f"--run {str(run)!r} has no {missing[model]}")


def data_of(run: Path) -> DataConfig:
    """The data that a run was trained on; nothing that its configuration names is called.

    Raises:
        ConfigError: Naming the file, if it cannot be read.
    """
    path = run / "config.yaml"
    try:
        section = read_yaml(path)["data"]
    except (ConfigError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no configuration of a run: {error!r}") from error
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: data must be keys with values, got {section!r}")
    try:
        return fill(DataConfig, section)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def tested(
    evaluator: str, ks: Sequence[int] | None, train: SampleSet, test: SampleSet | None
) -> tuple[str, list[tuple[SampleSet, Int[Tensor, " rows"]]]]:
    """Who is classified by whom, or who searches among whom: in words, and as rows of data sets.

    Raises:
        ConfigError: If there is nothing to measure, or a k is out of range.
    """
    if MEASURES[evaluator].rows == "probe":
        split = probe_split(train, test)
        if isinstance(split, str):
            raise ConfigError(split)
        parts = [(split.gallery, split.gallery_rows), (split.query, split.query_rows)]
        words, most = split.description, len(split.gallery_rows)
    elif not MEASURES[evaluator].labels:
        samples = train if test is None else test
        rows = torch.arange(len(samples))
        words = f"{len(rows):,} {'training' if test is None else 'test'} samples"
        parts, most = [(samples, rows)], len(rows) - 1
    elif test is None:
        raise ConfigError(
            "has no test samples; data.test_source in config.yaml of the run gives them"
        )
    elif test.labels is None:
        raise ConfigError(
            "the test samples have no labels; sub-folders, or a label column, give them"
        )
    else:
        rows = (test.labels >= 0).nonzero()[:, 0]
        parts, most = [(test, rows)], len(rows) - 1
        words = f"each of {len(rows):,} test samples searches among the others"
        if evaluator == "retrieval":
            _check_classes(test.labels[rows], train, test)
    if ks is not None:
        check_ks(ks, most, evaluator)
    return words, parts


def _check_classes(labels: Int[Tensor, " rows"], train: SampleSet, test: SampleSet) -> None:
    """Raise if each test sample is the only one of its class."""
    classes = len(labels.unique())
    if len(labels) > classes:
        return
    classified = isinstance(probe_split(train, test), ProbeSplit)
    other = "choose --evaluator knn" if classified else "evaluate on a test set that has them"
    raise ConfigError(
        f"retrieval needs two test samples of a class, and {len(labels):,} are of {classes:,} "
        f"classes: give more of each, or {other}"
    )


def evaluate(config: EvaluateConfig, values: dict[str, Any]) -> dict[str, float]:
    """Load the model, embed, measure, write ``NAME.json`` into the run folder.

    Args:
        config: Which run and what to measure.
        values: Options of each measure, by section.
    """
    assert config.run is not None
    folder = model_folder(config.run, config.model)
    own = read_metadata(folder)
    network = own["class_path"], own["init_args"]
    begin = initial(config.init or folder, *network, trust=config.trust)
    if begin.inputs is None and begin.preset is None:  # a file says nothing of its samples
        begin = replace(begin, inputs=own["inputs"])
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    device = accelerator.device
    use_threads(None, device)
    data = decoded_for(as_published(data_of(config.run), begin.preset), begin.inputs)
    train = load_train(data)
    backbone = begin.backbone(train.spec).eval().to(device)
    test = load_test(data, train)
    if test is not None:
        announce_leak(train.digests, test.digests)
    options = dict(values[config.evaluator])
    try:
        words, parts = tested(config.evaluator, options.get("ks"), train, test)
        if config.evaluator == "label_distances":
            options["label_values"] = label_values_of(parts[0][0].class_names)
    except ConfigError as error:
        raise ConfigError(f"data.source {data.source!r}: {error}") from error
    encode, results = encoder(backbone, device), dict[str, float]()
    tables = [_embedded(encode, samples, rows, device) for samples, rows in parts]
    for table in tables:
        if not table.embeddings.isfinite().all():
            raise ConfigError(
                f"{config.init or folder}: its embeddings of data.source {data.source!r} "
                "hold NaN or infinity; evaluate other weights or data"
            )
    if accelerator.is_main_process:
        results = MEASURES[config.evaluator].function(*tables, **options)
        say(f"{config.run}: {words}")
        say(shown_results(results))
        suffix = "_init" if config.init else "" if config.model == "backbone" else "_best"
        write_json(config.run / f"{config.evaluator}{suffix}.json", results)
        if config.neighbors is not None:
            path = config.run / "neighbors.csv"
            names = parts[-1][0].class_names
            write_neighbors(path, neighbors(*tables, k=config.neighbors, class_names=names))
            say(f"nearest neighbors of each test sample: {path}")
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return results


def _embedded(
    encode: Encoder, samples: SampleSet, rows: Int[Tensor, " rows"], device: torch.device
) -> EmbeddingTable:
    """Samples as :func:`load` of their stored table would have them."""
    features = embed(encode, samples, rows, device=device)
    rows = rows[: len(features)]  # on other processes than the first there are no features
    return EmbeddingTable(
        embeddings=features,
        labels=torch.full_like(rows, -1) if samples.labels is None else samples.labels[rows],
        names=samples.names.at(rows.tolist()),
        columns=samples.columns_at(rows),
    )


def evaluate_tables(config: EvaluateConfig, values: dict[str, Any]) -> dict[str, float]:
    """Measure stored tables, and write ``NAME.json`` beside the gallery's ``table.json``."""
    assert config.gallery is not None
    where, options = config.query or config.gallery, dict(values[config.evaluator])
    measure = MEASURES[config.evaluator]
    if measure.rows == "probe" and config.query is None:
        raise ConfigError(f"{config.evaluator} needs a table of test samples: --query TABLE")
    tables, names = stored_tables(config.gallery, config.query, labeled=measure.labels)
    if (ks := options.get("ks")) is not None:
        check_ks(ks, len(tables[0].labels) - (len(tables) == 1), config.evaluator)
    if config.evaluator == "label_distances":
        options["label_values"] = label_values_of(names)
    results = measure.function(*tables, **options)
    say(f"{len(tables[-1].labels):,} rows of {where} query {len(tables[0].labels):,} rows")
    say(shown_results(results))
    write_json(config.gallery / f"{config.evaluator}.json", results)
    if config.neighbors is not None:
        path = config.gallery / "neighbors.csv"
        write_neighbors(path, neighbors(*tables, k=config.neighbors, class_names=names))
        say(f"nearest neighbors of each row: {path}")
    return results


def main(args: list[str] | None = None) -> None:
    """Parse the command line and evaluate."""
    config, values = parse(
        EvaluateConfig, args, kind="evaluate", default="knn", functions=FUNCTIONS
    )
    (evaluate if config.gallery is None else evaluate_tables)(config, values)
