"""Classifiers on a finished run: ``ssl_dml probe --run X``, by the published protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from ssl_dml.backbones import load
from ssl_dml.checks import at_least, inside, positive
from ssl_dml.commands import finetune
from ssl_dml.commands.finished import data_of, model_folder, tested
from ssl_dml.commands.measures import shown_results
from ssl_dml.config import parse
from ssl_dml.data import SampleSet, load_test, load_train
from ssl_dml.data.labeled import LabelConfig, ValidationConfig, split_labeled
from ssl_dml.evaluation import classifier, encoder
from ssl_dml.evaluation.embed import embed_labeled
from ssl_dml.files import as_json, write_json
from ssl_dml.progress import say
from ssl_dml.types import ConfigError
from ssl_dml.yaml_text import read_yaml

Kind = Literal["linear", "whole"]
CONFIGS: dict[Kind, str] = {"linear": "linear_probe", "whole": "classification"}
RATES: dict[Kind, Sequence[float]] = {"linear": (0.1, 1.0, 10.0), "whole": (0.01, 0.05, 0.2)}
EPOCHS: dict[Kind, float] = {"linear": 100.0, "whole": 30.0}
HELD_OUT = "held_out_top1"


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Classifiers that are trained on the training samples of a run, and tested once.

    Args:
        run: The run folder; its data has labels.
        kinds: ``linear`` trains a linear layer on the frozen network, by random crops and flips;
            ``whole`` trains the network with it.
        rates: Learning rates to choose from; null for 0.1, 1 and 10 of ``linear``, and 0.01, 0.05
            and 0.2 of ``whole``.
        epochs: Passes over the data; null for 100 of ``linear`` and 30 of ``whole``.
        trial: Part of the epochs that each rate is tried for.
        held_out: Part of the training samples of each class that rates are judged by.
        batch_size: Samples in a batch.
        model: Which model of the run.
        seed: Of what is held out, of the order of samples and of views.
        threads: Threads on the processor; null shares the cores evenly.
    """

    run: Path
    kinds: Sequence[Kind] = ("linear", "whole")
    rates: Sequence[float] | None = None
    epochs: float | None = None
    trial: float = 0.2
    held_out: float = 0.1
    batch_size: int = 256
    model: Literal["backbone", "best"] = "backbone"
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        positive("probe", epochs=self.epochs)
        inside(0, 1, "probe", held_out=self.held_out)
        at_least(2, "probe", batch_size=self.batch_size)
        if not 0 < self.trial <= 1:
            raise ConfigError(f"probe.trial must be above 0 and at most 1, got {self.trial}")
        for rate in self.rates or ():
            positive("probe", rates=rate)
        if self.rates is not None and not self.rates:
            raise ConfigError("probe.rates must name a learning rate, or be null")


def probe(config: ProbeConfig) -> dict[str, dict[str, float]]:
    """Choose a rate for each kind, train it on all training samples, and test that once.

    Runs are kept in ``probes/KIND`` of the run, and what was found in ``probes/KIND.json``.

    Returns:
        For each kind the accuracy on test samples as ``classifier_top1``, with its 95% interval by
        a bootstrap over samples, the chosen ``lr``, and ``held_out_top1``, the accuracy of its
        trial on held-out training samples.

    Raises:
        ConfigError: If this is no finished run, or its test samples are not of its classes.
    """
    start, data = model_folder(config.run, config.model), data_of(config.run)
    train = load_train(data)
    test = load_test(data, train)
    try:
        words, parts = tested("linear", None, train, test)
    except ConfigError as error:
        raise ConfigError(f"data.source {data.source!r}: {error}") from error
    if test is None or parts[1][0] is not test:
        raise ConfigError(
            f"data.source {data.source!r}: a classifier needs test samples of the classes of "
            "training; data.test_source in config.yaml of the run gives them"
        )
    say(f"{config.run}: {words}")
    found = dict[str, dict[str, float]]()
    for kind in config.kinds:
        folder = config.run / "probes" / kind
        rates = RATES[kind] if config.rates is None else config.rates
        trained = _Trainer(config, kind, start, folder, train)
        tried = {rate: trained.trial(rate) for rate in rates}
        chosen = max(tried, key=lambda rate: tried[rate])
        accuracies = trained.final(chosen, test)
        found[kind] = {**accuracies, "lr": chosen, HELD_OUT: tried[chosen]}
        say(f"{kind}: rates by held-out training samples: {_listed(tried)}")
        say(shown_results(found[kind]))
        write_json(folder.with_suffix(".json"), {**found[kind], "tried": _named(tried)})
    return found


@dataclass(frozen=True)
class _Trainer:
    config: ProbeConfig
    kind: Kind
    start: Path
    folder: Path
    train: SampleSet

    def trial(self, rate: float) -> float:
        """Accuracy on held-out training samples, after a part of the epochs."""
        held = ValidationConfig(fraction=self.config.held_out, by="samples")
        epochs = self.config.trial * self._epochs
        run = self._trained(f"{self.folder}_{rate:g}", rate, epochs, held)
        rows = split_labeled(self.train, LabelConfig(), held, seed=self.config.seed).queries
        return self._accuracies(run, self.train, rows)["classifier_top1"]

    def final(self, rate: float, test: SampleSet) -> dict[str, float]:
        """Accuracies on test samples, after all epochs on all training samples."""
        nothing = ValidationConfig(fraction=None)
        run = self._trained(str(self.folder), rate, self._epochs, nothing)
        assert test.labels is not None
        return self._accuracies(run, test, (test.labels >= 0).nonzero()[:, 0])

    @property
    def _epochs(self) -> float:
        return EPOCHS[self.kind] if self.config.epochs is None else self.config.epochs

    def _trained(self, folder: str, rate: float, epochs: float, held: ValidationConfig) -> Path:
        """The run, trained by the shipped configuration of the kind."""
        config, labels = self.config, self.train.labels
        assert labels is not None
        given = {
            "init": self.start,
            "data": as_json(read_yaml(config.run / "config.yaml")["data"]),
            "data.batch_size": config.batch_size,
            "embedding_dim": len(labels[labels >= 0].unique()),
            "optimizer.init_args.lr": rate,
            "train.epochs": epochs,
            "finetune.freeze_epochs": epochs if self.kind == "linear" else 0.0,
            "train.threads": "null" if config.threads is None else config.threads,
            "validation.fraction": "null" if held.fraction is None else held.fraction,
            "validation.by": held.by,
            "validation.every_epochs": 1 + int(epochs),  # its retrieval decides nothing here
            "seed": config.seed,
            "resume": "true",
            "output_dir": folder,
        }
        args = [f"--config={CONFIGS[self.kind]}", *(f"--{k}={v}" for k, v in given.items())]
        return finetune.main(args)

    def _accuracies(self, run: Path, samples: SampleSet, rows: torch.Tensor) -> dict[str, float]:
        found = torch.accelerator.current_accelerator(check_available=True)
        device = found or torch.device("cpu")
        network = load(run / "backbone").to(device)
        table = embed_labeled(encoder(network, device), samples, rows, device=device)
        assert self.train.labels is not None
        known = self.train.labels[self.train.labels >= 0].unique()  # numbered without gaps
        return classifier(replace(table, labels=torch.searchsorted(known, table.labels)))


def _named(tried: Mapping[float, float]) -> dict[str, float]:
    return {f"{rate:g}": accuracy for rate, accuracy in tried.items()}


def _listed(tried: Mapping[float, float]) -> str:
    """As ``0.1: 81.0%, 1: 83.2%``."""
    return ", ".join(f"{rate}: {accuracy:.1%}" for rate, accuracy in _named(tried).items())


def main(args: list[str] | None = None) -> None:
    """Parse the command line and probe."""
    config, _ = parse(ProbeConfig, args, kind="probe")
    probe(config)
