"""One page on runs that opens from disk: ``ssl_dml report RUN... --output report.html``."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import torch

import ssl_dml
from ssl_dml.backbones import load
from ssl_dml.checks import in_range, named, seeds
from ssl_dml.commands.finished import data_of, model_folder
from ssl_dml.commands.measures import MEASURES
from ssl_dml.config import parse
from ssl_dml.data import SampleSet, load_test, load_train
from ssl_dml.data.config import decoded_for
from ssl_dml.data.originals import open_sample
from ssl_dml.evaluation import embed, encoder
from ssl_dml.evaluation.embed_table import within
from ssl_dml.evaluation.look import look
from ssl_dml.files import write_text
from ssl_dml.progress import say
from ssl_dml.reading import read_json
from ssl_dml.reporting.compact_section import add_compact
from ssl_dml.reporting.environment import ENVIRONMENT, environment
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.run_sections import (
    add_curves,
    add_data,
    add_measures,
    add_threshold,
    add_views,
)
from ssl_dml.reporting.samples import Found, add_comparison, add_embeddings, add_sheets
from ssl_dml.reporting.sections import Shown
from ssl_dml.reporting.thumbnails import small, thumbnails
from ssl_dml.tables import EmbeddingTable, StoredTable, TableBatch
from ssl_dml.training.run_state import RunState, read_state
from ssl_dml.types import ConfigError, one_line
from ssl_dml.yaml_text import to_yaml

MOST_BYTES = 15_000_000
IN_LINES = [name for name, one in MEASURES.items() if one.table is None]
MOST_SAMPLES = 5000


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """A report.

    Args:
        runs: The run folders.
        output: The page.
        table: A stored table of embeddings that ``ssl_dml embed`` wrote, to be shown instead of
            samples embedded anew; for at most one run.
        samples: Most samples that are embedded of each run, or taken from the table.
        model: Which model of a run: after the last step, or the best.
        seed: Of the choice of samples, and of map and clusters.
        trust: Import the module of any class that a saved backbone names.
    """

    runs: list[Path]
    output: Path = Path("report.html")
    table: Path | None = None
    samples: int = 2000
    model: Literal["backbone", "best"] = "backbone"
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        in_range(3, MOST_SAMPLES, "report", samples=self.samples)
        seeds("report", seed=self.seed)
        if not self.runs and self.table is None:
            raise ConfigError("name a run folder, or --table: ssl_dml report RUN")
        if self.table is not None and len(self.runs) > 1:
            raise ConfigError(f"--table is of one run, and {len(self.runs)} are given")
        named("output", self.output)
        if not self.output.expanduser().absolute().parent.is_dir():
            raise ConfigError(f"--output {self.output}: there is no folder {self.output.parent}")
        if self.output.is_dir():
            raise ConfigError(f"--output {self.output} is a folder; name a file, such as a.html")


def chosen(count: int, most: int, seed: int) -> torch.Tensor:
    """Up to ``most`` rows of ``count``, random and in order; the same ones for a seed.

    >>> chosen(3, 5, 0)
    tensor([0, 1, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:most].sort().values


def embedded(state: RunState, config: ReportConfig) -> Shown:
    """Samples of a run's data under its model: of the test samples where they have labels.

    Raises:
        ConfigError: If the model or the data are missing or damaged.
    """
    folder = model_folder(state.folder, config.model)
    backbone = load(folder, trust=config.trust)
    data = decoded_for(data_of(state.folder), backbone.inputs)
    train = load_train(data)
    notes = list[str]()
    if state.data.get("fingerprint", train.fingerprint) != train.fingerprint:
        notes.append("the data have changed since the run")
    test = load_test(data, train)
    tested = test is not None and test.labels is not None
    samples: SampleSet = test if test is not None and tested else train
    rows = chosen(len(samples), config.samples, config.seed)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    features = embed(encoder(backbone.to(device), device), samples, rows, device=device)
    labels = torch.full((len(rows),), -1) if samples.labels is None else samples.labels[rows]
    kind = "test" if tested else "training"
    root = Path((tested and data.test_source) or data.source).expanduser().absolute()
    names = [within(root, name) for name in samples.names.at(rows.tolist())]
    return Shown(
        table=EmbeddingTable(embeddings=features, labels=labels, names=names),
        class_names=samples.class_names,
        images=thumbnails(samples, rows),
        words=f"{len(rows):,} of {len(samples):,} {kind} samples",
        notes=notes,
    )


def stored(config: ReportConfig, folder: Path) -> Shown:
    """Rows of a stored table, with their images where these are found again.

    Raises:
        ConfigError: If it is no table, or damaged.
    """
    table = StoredTable(folder)
    rows, first = chosen(table.info.rows, config.samples, config.seed), 0
    parts = list[TableBatch]()
    for batch in table.batches():
        inside = rows[(rows >= first) & (rows < first + len(batch.names))] - first
        parts.append(_part(batch, inside.tolist()))
        first += len(batch.names)
    names = [name for part in parts for name in part.names]
    images, lacking = list[Any](), ""
    for name in names:
        try:
            images.append(small(open_sample(table.info.data, name)))
        except (ConfigError, OSError, ValueError) as error:
            images.append(None)
            lacking = lacking or str(error)
    missing = sum(image is None for image in images)
    columns = {key: [v for p in parts for v in p.columns[key]] for key in parts[0].columns}
    return Shown(
        table=EmbeddingTable(
            embeddings=torch.cat([part.embeddings for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            names=names,
        ),
        class_names=table.info.class_names or [],
        images=images,
        words=f"{len(names):,} of {table.info.rows:,} rows of {folder}",
        columns=columns,
        notes=[f"{missing:,} images are left out: {lacking}"] if missing else [],
    )


def _part(batch: TableBatch, rows: Sequence[int]) -> TableBatch:
    return TableBatch(
        names=[batch.names[i] for i in rows],
        labels=batch.labels[rows],
        embeddings=batch.embeddings[rows],
        columns={key: [values[i] for i in rows] for key, values in batch.columns.items()},
    )


def looked(state: RunState | None, config: ReportConfig) -> Found | str:
    """Embeddings of a run and what is to be seen in them, or why there are none."""
    try:
        if config.table is not None:
            shown = stored(config, config.table)
        else:
            assert state is not None
            shown = embedded(state, config)
        return shown, look(shown.table, seed=config.seed)
    except (ValueError, OSError) as error:
        if config.table is not None:
            raise
        return one_line(error, words=100)


def names_of(runs: Sequence[Path]) -> list[str]:
    """A short name for each run: as many last folders as tell them apart.

    >>> names_of([Path("a/x"), Path("b/x")])
    ['a/x', 'b/x']
    """
    full = [path.expanduser().resolve() for path in runs]
    for count in range(1, 10):
        short = ["/".join(path.parts[-count:]) for path in full]
        if len({*short}) == len(short):
            return short
    return [f"{i + 1}: {path}" for i, path in enumerate(full)]


def report(config: ReportConfig) -> Path:
    """Read the runs, embed some samples, and write the page.

    Raises:
        ConfigError: If a folder is no run, the table cannot be read, or the page is too large.
    """
    began = time.monotonic()
    states = dict(zip(names_of(config.runs), map(read_state, config.runs), strict=True))
    found = {name: looked(state, config) for name, state in states.items()}
    if not states:
        assert config.table is not None
        found = {config.table.name: looked(None, config)}
    page = Page(
        title=f"Report of {', '.join(found)}",
        subtitle=f"{datetime.now():%Y-%m-%d %H:%M}, ssl_dml {ssl_dml.__version__}",
    )
    if states:
        page.chapter("Overview")
        _overview(page, states, found)
        page.chapter("Curves")
        add_curves(page, {name: state.rows for name, state in states.items()})
    anchors = add_sheets(page, found)
    for name, one in found.items():
        page.chapter(name)
        if name in states:
            _run(page, states[name], config.model)
        elif config.table is not None:
            add_measures(page, config.table, IN_LINES)
            add_threshold(page, config.table)
        add_embeddings(page, one, anchors.get(name), config.seed)
        if name in states:
            page.section("Configuration and environment")
            page.details("Configuration", to_yaml(states[name].config))
            _environment(page, states[name].folder)
    text = page.html(f"Made by ssl_dml {ssl_dml.__version__}; it loads nothing from anywhere.")
    size = len(text.encode())
    if size > MOST_BYTES:
        raise ConfigError(
            f"the report has {size / 1e6:.1f} MB, above {MOST_BYTES / 1e6:.0f}: lower --samples "
            f"{config.samples}, or name fewer runs"
        )
    path = config.output.expanduser()
    write_text(path, text)
    for name, one in found.items():
        if isinstance(one, str):
            say(f"{name}: the embeddings are left out: {one}")
    say(f"report of {size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s: {path}")
    return path


def _overview(page: Page, states: dict[str, RunState], found: dict[str, Found | str]) -> None:
    """One row a run: what was trained on what, how far, and how good it is."""
    columns = ["run", "objective", "data", "steps", "state", "loss", "probe", "first", "last"]
    rows = list[list[str]]()
    for name, state in states.items():
        planned = "?" if state.planned is None else f"{state.planned:,}"
        loss = "" if state.loss is None else f"{state.loss:.3f}"
        score = state.score
        values = ["", "", ""] if score is None else [score[0], *map(_score, score[1:])]
        steps = f"{state.step:,} of {planned}"
        rows.append([name, state.objective, state.source, steps, state.state, loss, *values])
    page.table(columns, rows)
    add_comparison(page, found)


def _score(value: float) -> str:
    return f"{value:.1%}" if 0 <= value <= 1 else f"{value:.4g}"


def _run(page: Page, state: RunState, model: str) -> None:
    for note in state.notes:
        page.note(note)
    add_data(page, state.data)
    add_measures(page, state.folder, IN_LINES)
    add_threshold(page, state.folder / model)
    add_views(page, state.folder)
    add_compact(page, state.folder)


def _environment(page: Page, folder: Path) -> None:
    """Add the environment of the run, or of this report where the run has not kept its own."""
    try:
        kept = read_json(folder / ENVIRONMENT)
    except (OSError, ValueError):
        kept = None
    if isinstance(kept, dict):
        page.text("The environment of the run:")
        page.pairs(kept)
    else:
        page.text(f"The run has kept no {ENVIRONMENT}; this report was made with:")
        page.pairs(environment())


def main(args: list[str] | None = None) -> Path:
    """Parse the command line and write the report; the first words are the runs."""
    args = list(sys.argv[1:] if args is None else args)
    count = next((i for i, word in enumerate(args) if word.startswith("-")), len(args))
    runs = ["--runs", json.dumps(args[:count])] if count or "--runs" not in args else []
    config, _ = parse(ReportConfig, [*runs, *args[count:]], kind="report")
    return report(config)
