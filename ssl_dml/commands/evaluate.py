"""Measure a finished run, or tables: ``ssl_dml evaluate --config knn|linear|retrieval --run X``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from jaxtyping import Int
from torch import Tensor

from ssl_dml.backbones import Backbone, initial
from ssl_dml.backbones.pools import Pools
from ssl_dml.backbones.saved import read_metadata
from ssl_dml.commands.finished import data_of, model_folder, tested
from ssl_dml.commands.measures import FUNCTIONS, MEASURES, said
from ssl_dml.commands.run_views import run_views
from ssl_dml.config import arguments, parse
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.labeled import label_values_of
from ssl_dml.data.understood import announce_leak
from ssl_dml.distributed import process_group
from ssl_dml.evaluation import (
    embed,
    encoder,
    neighbors,
    write_neighbors,
)
from ssl_dml.evaluation.compute import Compute
from ssl_dml.evaluation.embed import Encoder
from ssl_dml.evaluation.search import check_ks
from ssl_dml.evaluation.stored import stored_tables
from ssl_dml.files import write_json
from ssl_dml.progress import say
from ssl_dml.tables import EmbeddingTable
from ssl_dml.training.accelerator import use_processor
from ssl_dml.types import ConfigError


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """An evaluation of a finished run, or of stored tables.

    Args:
        run: The run folder.
        gallery: A table of ``ssl_dml embed`` to evaluate instead: of what is searched, or trained
            on.
        query: A table of what is searched for, or tested on; without it, retrieval searches for
            each row of the gallery among the others.
        evaluator: What is measured: weighted kNN; a linear probe; logistic regression; kNN and
            logistic regression from few labels; retrieval, verification of pairs, identification in
            an open set, clustering or few-shot classification among test samples; the classes that
            a network gives test samples; kNN and retrieval of each layer and pooling, or of smaller
            embeddings (compact); health, which needs no labels; or, where labels are continuous,
            distances of the labels of nearest neighbors.
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
    evaluator: Literal[
        "knn", "linear", "logistic", "few_labels", "retrieval", "verification", "open_set",
        "clustering", "few_shot", "classifier", "layers", "compact", "label_distances", "health",
    ]  # fmt: skip
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


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model of a run, and the samples that an evaluation takes.

    Args:
        backbone: The network, in evaluation mode on ``device``.
        device: Where it is.
        data: What the samples are of.
        parts: Data set and rows of the gallery, and of the query if there is one.
        words: Both in words.
    """

    backbone: Backbone
    device: torch.device
    data: DataConfig
    parts: Sequence[tuple[SampleSet, Int[Tensor, " _"]]]
    words: str


def opened(config: EvaluateConfig, options: dict[str, Any], device: torch.device) -> Opened:
    """Load the model of a run, and its samples; of these come further options of the measure."""
    assert config.run is not None
    folder = model_folder(config.run, config.model)
    own = read_metadata(folder)
    network = own["class_path"], own["init_args"]
    begin = initial(config.init or folder, *network, trust=config.trust)
    if begin.inputs is None and begin.preset is None:  # a file says nothing of its samples
        begin = replace(begin, inputs=own["inputs"])
    use_processor(None)
    data = decoded_for(as_published(data_of(config.run), begin.preset), begin.inputs)
    train = load_train(data)
    backbone = begin.backbone(train.spec).eval().to(device)
    test = load_test(data, train)
    if test is not None:
        announce_leak(train.digests, test.digests)
    try:
        words, parts = tested(config.evaluator, options.get("ks"), train, test)
        if config.evaluator == "label_distances":
            options["label_values"] = label_values_of(parts[0][0].class_names)
    except ConfigError as error:
        raise ConfigError(f"data.source {data.source!r}: {error}") from error
    if config.evaluator == "layers":
        backbone = Pools(backbone).eval()
        options["dims"] = backbone.dims
    return Opened(backbone=backbone, device=device, data=data, parts=parts, words=words)


def embedded_parts(config: EvaluateConfig, found: Opened) -> list[EmbeddingTable]:
    """The table of each part, on every process.

    Raises:
        ConfigError: If an embedding is not finite.
    """
    encode = encoder(found.backbone, found.device)
    tables = [_embedded(encode, samples, rows, found.device) for samples, rows in found.parts]
    for table in tables:
        if not table.embeddings.isfinite().all():
            raise ConfigError(
                f"{config.init or config.run}: its embeddings of data.source "
                f"{found.data.source!r} hold NaN or infinity; evaluate other weights or data"
            )
    return tables


def evaluate(config: EvaluateConfig, values: dict[str, Any]) -> dict[str, float]:
    """Load the model, embed, measure, write ``NAME.json`` into the run folder.

    All processes embed, and share the work of measures that can be shared. Others leave before the
    first process goes on alone, so that none waits for it.

    Args:
        config: Which run and what to measure.
        values: Options of each measure, by section.
    """
    assert config.run is not None
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    options, results = _options(config, values), dict[str, float]()
    found, measure = opened(config, options, accelerator.device), MEASURES[config.evaluator]
    tables = embedded_parts(config, found)
    if measure.shared:
        options["compute"] = Compute(device=found.device, group=process_group())
        results = measure.function(*tables, **options)
    accelerator.end_training()
    if accelerator.is_main_process:
        if config.evaluator == "health":
            given = {"device": found.device, "trust": config.trust}
            options["views"] = run_views(config.run, found.backbone, found.parts[0][0], **given)
        results = results or measure.function(*tables, **options)
        say(f"{config.run}: {found.words}")
        say(said(measure, results, options))
        suffix = "_init" if config.init else "" if config.model == "backbone" else "_best"
        write_json(config.run / f"{config.evaluator}{suffix}.json", results)
        if config.neighbors is not None:
            path = config.run / "neighbors.csv"
            names = found.parts[-1][0].class_names
            alone = Compute(device=found.device)
            listed = neighbors(*tables, k=config.neighbors, class_names=names, compute=alone)
            write_neighbors(path, listed)
            say(f"nearest neighbors of each test sample: {path}")
    return results


def _embedded(
    encode: Encoder, samples: SampleSet, rows: Int[Tensor, " rows"], device: torch.device
) -> EmbeddingTable:
    """Samples as :func:`load` of their stored table would have them."""
    features = embed(encode, samples, rows, device=device)
    return EmbeddingTable(
        embeddings=features,
        labels=torch.full_like(rows, -1) if samples.labels is None else samples.labels[rows],
        names=samples.names.at(rows.tolist()),
        columns=samples.columns_at(rows),
    )


def _options(config: EvaluateConfig, values: dict[str, Any]) -> dict[str, Any]:
    """The options of the measure, with its metric and whatever else is an object built."""
    measure = MEASURES[config.evaluator]
    return arguments(measure.function, measure.given, values.get(config.evaluator, {}))


def evaluate_tables(config: EvaluateConfig, values: dict[str, Any]) -> dict[str, float]:
    """Measure stored tables, and write ``NAME.json`` beside the gallery's ``table.json``."""
    assert config.gallery is not None
    where, options = config.query or config.gallery, _options(config, values)
    measure = MEASURES[config.evaluator]
    if config.evaluator == "layers":
        raise ConfigError("layers needs the network, not a table of it: name a run with --run")
    if measure.rows == "probe" and config.query is None:
        raise ConfigError(
            f"{config.evaluator} needs a table of test samples beside --gallery: --query TABLE"
        )
    tables, names = stored_tables(config.gallery, config.query, labeled=measure.labels)
    if (ks := options.get("ks")) is not None:
        check_ks(ks, len(tables[0].labels) - (len(tables) == 1), config.evaluator)
    if config.evaluator == "label_distances":
        options["label_values"] = label_values_of(names)
    results = measure.function(*tables, **options)
    searched = f" query {len(tables[0].labels):,} rows" * measure.searches
    say(f"{len(tables[-1].labels):,} rows of {where}{searched}")
    say(said(measure, results, options))
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
