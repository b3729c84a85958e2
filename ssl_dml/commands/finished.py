"""What a finished run has: its model, its data, and the samples that it is tested on."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.commands.measures import MEASURES
from ssl_dml.config import fill
from ssl_dml.data import DataConfig, SampleSet
from ssl_dml.evaluation import ProbeSplit, probe_split
from ssl_dml.evaluation.search import check_ks
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import read_yaml


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
        words = f"{len(rows):,} test samples"
        if MEASURES[evaluator].searches:
            words = f"each of {words} searches among the others"
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
