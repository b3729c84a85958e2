"""Test whether new data are like those of training: ``ssl_dml drift --run RUN NEW_DATA``."""

import sys
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Int
from torch import Tensor

from ssl_dml.backbones import load
from ssl_dml.backbones.digest import weights_digest
from ssl_dml.backbones.saved import METADATA
from ssl_dml.checks import in_range, inside, named, seeds
from ssl_dml.commands.drift_samples import NewSamples, check_same, image_of, of_data, of_table
from ssl_dml.commands.drift_sheet import page_of, told
from ssl_dml.commands.embed import EmbedConfig
from ssl_dml.commands.finished import model_folder
from ssl_dml.config import parse
from ssl_dml.console import plain
from ssl_dml.data import DataConfig
from ssl_dml.evaluation.shift import FEWEST, Shift, shift
from ssl_dml.evaluation.sketch import ROWS, chosen, read_sketch, rounded, write_sketch
from ssl_dml.files import write_json, write_text
from ssl_dml.progress import say
from ssl_dml.reporting.sections import Shown
from ssl_dml.tables import TABLE, EmbeddingTable, StoredTable
from ssl_dml.training.run_folder import locked
from ssl_dml.types import ConfigError

LISTED = 48  # most unlike samples that are written and shown


@dataclass(frozen=True, kw_only=True)
class DriftConfig:
    """A test of new data against the sketch of the training data that travels with a model.

    Args:
        run: A run folder, or a saved or exported backbone.
        data: New samples, decoded as in training; the first word that is no key names their source,
            and ``--data.KEY`` is any key of a run's data.
        split: Which samples of a source with splits.
        table: New samples as a table that ``ssl_dml embed`` wrote with the same weights, instead.
        sketch_from: A table of the training data, whose rows become the sketch of a model that has
            none, or another one; nothing is tested.
        output: Folder for ``drift.json`` and ``drift.html``; null for that of the run.
        level: Fraction of tests of data like those of training that may say they differ.
        draws: Draws of the permutation test.
        seed: Of the draws, and of the choice among many new samples.
        trust: Import the module of any class that a saved backbone names.
    """

    run: Path
    data: DataConfig | None = None
    split: Literal["train", "test"] = "train"
    table: Path | None = None
    sketch_from: Path | None = None
    output: Path | None = None
    level: float = 0.01
    draws: int = 999
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        given = [one for one in (self.data, self.table, self.sketch_from) if one is not None]
        if len(given) != 1:
            raise ConfigError(
                "name new data, ssl_dml drift --run RUN FOLDER_OR_TABLE, or --sketch_from TABLE "
                "to make a sketch"
            )
        inside(0, 1, "drift", level=self.level)
        in_range(99, 99_999, "drift", draws=self.draws)
        if self.level * (self.draws + 1) < 1:
            raise ConfigError(
                f"--draws {self.draws} can show no p-value below --level {self.level}; give "
                f"{round(1 / self.level)} or more"
            )
        seeds("drift", seed=self.seed)
        named("output", self.output or self.run)


def folder_of(run: Path) -> Path:
    """The saved backbone of a run, or the folder itself where it is one."""
    return run if (run / METADATA).exists() else model_folder(run, "backbone")


def drift(config: DriftConfig) -> Shift | None:
    """Test, print the verdict, and write ``drift.json`` and ``drift.html``.

    Raises:
        ConfigError: If model, sketch and new samples do not fit together.
    """
    folder = folder_of(config.run)
    if config.sketch_from is not None:
        make_sketch(config, folder)
        return None
    stored = read_sketch(folder)
    reference = stored.load()
    reference = reference.at(chosen(len(reference.labels)))
    new = _new(config, folder, stored, most=len(reference.labels))
    _check_usable(reference, str(stored.folder))
    _check_usable(new.table, new.source)
    sizes = [table.embeddings.shape[1] for table in (reference, new.table)]
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"{stored.folder} has {sizes[0]} dimensions, and {new.source} {sizes[1]}; make the "
            "sketch again with --sketch_from"
        )
    rows = rounded(new.table.embeddings)
    found = shift(reference.embeddings, rows, draws=config.draws, seed=config.seed)
    values = described(found, config, stored, reference, new)
    output = (config.output or config.run).expanduser()
    with locked(output, "output"):
        write_json(output / "drift.json", values)
        write_text(
            output / "drift.html", page_of(values, *_pictured(found, stored, reference, new))
        )
    for line in told(values):
        say(plain(line))
    say(f"the most unlike samples: {output / 'drift.html'}")
    return found


def _new(config: DriftConfig, folder: Path, sketch: StoredTable, *, most: int) -> NewSamples:
    if config.table is not None:
        return of_table(config.table, sketch, most=most, seed=config.seed)
    assert config.data is not None
    own = {"split": config.split, "trust": config.trust, "output": folder}
    wanted = EmbedConfig(weights=str(folder), data=config.data, **own)
    return of_data(wanted, sketch, most=most, seed=config.seed)


def _check_usable(table: EmbeddingTable, where: str) -> None:
    if (count := len(table.labels)) < FEWEST:
        raise ConfigError(f"{where} has {count} samples; at least {FEWEST} are needed")
    if not table.embeddings.isfinite().all():
        raise ConfigError(f"embeddings of {where} hold NaN or infinity; use other samples")


def make_sketch(config: DriftConfig, folder: Path) -> None:
    """Keep rows of a table as the sketch of a model."""
    assert config.sketch_from is not None
    table = StoredTable(config.sketch_from)
    check_same(table, weights_digest(load(folder, trust=config.trust)), str(folder))
    info = replace(table.info, data={**table.info.data, "of": f"rows of {config.sketch_from}"})
    with locked(config.run, "run"):
        write_sketch(folder, table.load(), info)
    say(f"{folder}: a sketch of {min(table.info.rows, ROWS):,} rows of {config.sketch_from}")


def _pictured(
    found: Shift, sketch: StoredTable, reference: EmbeddingTable, new: NewSamples
) -> tuple[Shown, Shown]:
    """The new samples that are most unlike, and the nearest of training to each."""
    rows = unlike(found)
    near = found.nearest[rows]
    known = reference.at(near)
    one = Shown(
        table=new.table.at(rows), class_names=new.class_names, images=new.images(rows), words=""
    )
    other = Shown(
        table=known,
        class_names=sketch.info.class_names or (),
        images=[image_of(sketch, name) for name in known.names or ()],
        words="",
    )
    return one, other


def described(
    found: Shift,
    config: DriftConfig,
    sketch: StoredTable,
    reference: EmbeddingTable,
    new: NewSamples,
) -> dict[str, Any]:
    """What ``drift.json`` says."""
    names, known = new.table.names or (), reference.names or ()
    clusters = [one for one in found.clusters if one.p <= config.level] or found.clusters[:1]
    return {
        "differs": found.p <= config.level,
        "p": found.p,
        "level": config.level,
        "run": str(config.run),
        "source": new.source,
        "samples": len(names),
        "chosen_from": new.total,
        "damaged": list(new.damaged),
        "reference": {"samples": len(known), "of": str(sketch.info.data.get("of", "samples"))},
        "kernel": {"mmd2": found.kernel.value, "p": found.kernel.p},
        "outside": {**found.outside._asdict(), "radius": found.radius},
        "company": found.company._asdict(),
        "growth": found.growth._asdict(),
        "clusters": [
            {
                **asdict(one),
                "nearest_reference": known[one.nearest_reference],
                "nearest_new": names[one.nearest_new],
            }
            for one in clusters
        ],
        "unlike": [
            {
                "path": names[row],
                "distance": found.distances[row].item(),
                "nearest": known[int(found.nearest[row])],
            }
            for row in unlike(found).tolist()
        ],
    }


def unlike(found: Shift) -> Int[Tensor, " rows"]:
    """The new rows farthest from the reference, the farthest first."""
    return found.distances.argsort(descending=True, stable=True)[:LISTED]


def main(args: list[str] | None = None) -> Shift | None:
    """Parse the command line and test; the first word is a source of data or a table."""
    args = list(sys.argv[1:] if args is None else args)
    config, _ = parse(DriftConfig, with_key(args), kind="drift")
    return drift(config)


def with_key(args: list[str]) -> list[str]:
    """The arguments, of which the word that is no key and no value of one has the key of its kind.

    >>> with_key(["--run", "runs/a", "new", "--level=0.05"])
    ['--run', 'runs/a', '--data.source=new', '--level=0.05']
    """
    for i, (before, word) in enumerate(pairwise(["", *args])):
        if not word.startswith("-") and ("=" in before or not before.startswith("--")):
            key = "table" if (Path(word) / TABLE).exists() else "data.source"
            return [*args[:i], f"--{key}={word}", *args[i + 1 :]]
    return args
