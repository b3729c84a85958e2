"""Look for what is wrong with data before training: ``ssl_dml audit SOURCE``."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import ssl_dml
from ssl_dml.backbones import initial
from ssl_dml.backbones.initial import TIMM
from ssl_dml.backbones.saved import read_metadata
from ssl_dml.checks import at_least, named
from ssl_dml.commands.embed import data_of_run
from ssl_dml.commands.finished import model_folder
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.understood import announce
from ssl_dml.evaluation.audit import (
    Finding,
    duplicate_findings,
    embedding_findings,
    thumbnails_of,
)
from ssl_dml.evaluation.bootstrap import Gain
from ssl_dml.evaluation.embed import Encoder, embed, encoder, raw_baseline
from ssl_dml.evaluation.embed_table import within
from ssl_dml.evaluation.knn import knn_correct
from ssl_dml.evaluation.leaks import leak_effect
from ssl_dml.files import replacing, write_json, write_text
from ssl_dml.progress import say
from ssl_dml.reporting.audit_page import Known, audit_page, chapter_of, shown
from ssl_dml.reporting.thumbnails import thumbnails
from ssl_dml.tables import EmbeddingTable
from ssl_dml.training.accelerator import use_processor
from ssl_dml.training.run_folder import locked
from ssl_dml.types import ConfigError, ImageSpec, as_floats

K, TEMPERATURE = 20, 0.07
WORDS = {
    "leak": "leaks (copies in training and test)",
    "duplicate": "duplicates",
    "near_duplicate": "near-duplicates",
    "label": "doubtful labels",
    "outlier": "outliers",
    "classes": "pairs of classes that look like one",
}
COLUMNS = (
    "kind", "leak", "score", "path", "split", "class", "other", "other_split", "other_class",
    "drop", "reason",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What to look at.

    Args:
        data: The data, as in a run; damaged samples are left out and listed.
        run: A run whose embeddings judge labels, classes and outliers, instead of raw pixels or
            log-mel statistics; its data are the default.
        model: Which model of the run: after the last step, or the best.
        weights: Weights that embed instead, such as ``timm:NAME``.
        output: Folder of ``audit.csv``, ``audit.json`` and ``audit.html``.
        drop: Text file to write, with the copies to leave out, which ``data.exclude`` takes.
        shown: Most findings of a kind on the page.
        trust: Import the module of any class that a saved backbone names.
    """

    data: DataConfig
    run: Path | None = None
    model: Literal["backbone", "best"] = "backbone"
    weights: str | None = None
    output: Path = Path("audit")
    drop: Path | None = None
    shown: int = 200
    trust: bool = False

    def __post_init__(self) -> None:
        at_least(1, "audit", shown=self.shown)
        named("output", self.output)
        if self.drop is not None and not named("drop", self.drop).absolute().parent.is_dir():
            raise ConfigError(f"--drop {self.drop}: there is no folder {self.drop.parent}")


@dataclass(frozen=True, kw_only=True)
class Audited:
    """Training samples, and then test samples, as rows of one list."""

    parts: list[SampleSet]
    names: list[str]
    labels: torch.Tensor
    class_names: list[str]

    @property
    def tested(self) -> torch.Tensor:
        """Whether each row is a test sample."""
        return torch.cat([torch.full((len(p),), i == 1) for i, p in enumerate(self.parts)])

    def at(self, rows: Sequence[int]) -> list[tuple[SampleSet, torch.Tensor]]:
        """The rows of each part, which are in rising order."""
        first, found = 0, list[tuple[SampleSet, torch.Tensor]]()
        for part in self.parts:
            own = [row - first for row in rows if first <= row < first + len(part)]
            found.append((part, torch.tensor(own, dtype=torch.long)))
            first += len(part)
        return found


def open_data(config: AuditConfig) -> tuple[Audited, Encoder, str]:
    """The samples, and what embeds them: a function and its name."""
    data = replace(config.data, on_error="skip")
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    begin = None
    if config.run is not None or config.weights is not None:
        folder = None if config.run is None else model_folder(config.run, config.model)
        own: dict[str, Any] = {} if folder is None else read_metadata(folder)
        network = own.get("class_path", TIMM), own.get("init_args", {})
        begin = initial(config.weights or folder, *network, trust=config.trust)
        data = decoded_for(as_published(data, begin.preset), begin.inputs)
    train = load_train(data)
    test = load_test(data, train)
    announce(train, test, record="audit.json")
    parts = [train] if test is None else [train, test]
    audited = Audited(
        parts=parts,
        names=[name for part in parts for name in _names(part, data)],
        labels=torch.cat([
            torch.full((len(p),), -1) if p.labels is None else p.labels for p in parts
        ]),
        class_names=parts[-1].class_names or train.class_names,
    )  # fmt: skip
    if begin is None:
        name, encode = raw_baseline(train.spec)
        return audited, encode, name.replace("_", " ")
    backbone = begin.backbone(train.spec).eval().to(device)
    return audited, encoder(backbone, device), str(config.weights or config.run)


def _names(part: SampleSet, data: DataConfig) -> list[str]:
    """Names of samples: relative to the source, if all samples are from one."""
    root = Path(data.source).expanduser().absolute()
    relative = data.test_source is None
    return [within(root, name) if relative else name for name in part.names]


def audit(config: AuditConfig) -> list[Finding]:
    """Look for copies, leaks, outliers, doubtful labels and classes that look like one; write.

    Raises:
        ConfigError: If the data or the model cannot be read.
    """
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    use_processor(None)
    with locked(config.output, "output"):
        audited, encode, by = open_data(config)
        every = [torch.arange(len(part)) for part in audited.parts]
        rows = [
            embed(encode, part, own, device=device)
            for part, own in zip(audited.parts, every, strict=True)
        ]
        table = EmbeddingTable(embeddings=torch.cat(rows), labels=audited.labels)
        copies = _copies(audited)
        findings = copies + embedding_findings(table, audited.class_names)
        worth = _worth(table, audited, copies)
        _write(config, audited, findings, worth, by)
    return findings


def _copies(audited: Audited) -> list[Finding]:
    digests = np.concatenate([part.digests for part in audited.parts])
    unique = torch.from_numpy(np.sort(np.unique(digests, return_index=True)[1]))
    small = None
    if isinstance(audited.parts[0].spec, ImageSpec):
        small = torch.cat([
            thumbnails_of(as_floats(part[chunk][0]))
            for part, rows in audited.at(unique.tolist())
            for chunk in rows.split(1024)
        ])  # fmt: skip
    return duplicate_findings(digests, audited.tested, audited.labels, small, unique)


def _worth(table: EmbeddingTable, audited: Audited, copies: list[Finding]) -> Gain | None:
    """What leaked test samples add to the accuracy of a weighted kNN; None without."""
    known, tested = table.labels >= 0, audited.tested
    leaked = torch.zeros(len(known), dtype=torch.bool)
    for one in copies:
        if one.leak:
            leaked[[one.row, one.other]] = True
    leaked = leaked[known & tested]
    gallery, query = (
        EmbeddingTable(embeddings=table.embeddings[rows], labels=table.labels[rows])
        for rows in (known & ~tested, known & tested)
    )
    classes = gallery.labels.unique()
    if not leaked.any() or leaked.all() or len(classes) == 1:
        return None
    if not torch.isin(query.labels, classes).all():
        return None
    k = min(K, len(gallery.labels))
    ((_, right),) = knn_correct(gallery, query, [k], [TEMPERATURE])
    return leak_effect(right, leaked)


def _write(
    config: AuditConfig, audited: Audited, findings: list[Finding], worth: Gain | None, by: str
) -> None:
    folder, splits = config.output.expanduser(), ["train", "test"]
    known = Known(
        names=audited.names,
        classes=[
            audited.class_names[i] if i >= 0 else "" for i in audited.labels.tolist()
        ],
        splits=[splits[i] for i in audited.tested.int().tolist()],
        images=_images(audited, shown(findings, config.shown)),
    )  # fmt: skip
    counts = Counter(chapter_of(one) for one in findings)
    summary = [f"{words}: {count:,}" for kind, words in WORDS.items() if (count := counts[kind])]
    lines = [", ".join(summary) or "nothing was found", f"embeddings: {by}"]
    if worth is not None:
        lines.append(
            f"with the leaked test samples the kNN accuracy is {100 * worth.mean:+.2f} points "
            f"(95% interval {100 * worth.low:+.2f} to {100 * worth.high:+.2f})"
        )
    with replacing(folder / "audit.csv") as beside, beside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_row(one, known) for one in findings)
    values = {"format": 1, "source": config.data.source, "embeddings": by, "counts": dict(counts)}
    values |= {"leak_effect": None if worth is None else worth._asdict()}
    values |= {"damaged": [name for part in audited.parts for name in part.damaged]}
    found = [dict(zip(COLUMNS, _row(one, known), strict=True)) for one in findings]
    write_json(folder / "audit.json", values | {"findings": found})
    footer = f"ssl_dml {ssl_dml.__version__}"
    options = {"source": config.data.source, "summary": lines, "most": config.shown}
    write_text(folder / "audit.html", audit_page(findings, known, footer=footer, **options))
    for line in lines:
        say(line)
    say(f"{folder}: audit.html to look through, audit.csv, audit.json")
    if config.drop is not None:
        names = sorted({known.names[one.row] for one in findings if one.drop})
        write_text(config.drop.expanduser(), "".join(f"{name}\n" for name in names))
        say(f"{len(names):,} samples to leave out: --data.exclude {config.drop}")


def _row(one: Finding, known: Known) -> list[Any]:
    values, other = asdict(one), one.other
    beside = [known.names, known.splits, known.classes]
    return [
        one.kind, one.leak, round(values["score"], 4),
        *(column[one.row] for column in beside),
        *(column[other] if other >= 0 else "" for column in beside),
        one.drop, one.reason,
    ]  # fmt: skip


def _images(audited: Audited, findings: list[Finding]) -> dict[int, Any]:
    if not isinstance(audited.parts[0].spec, ImageSpec):
        return {}
    rows = sorted({row for one in findings for row in (one.row, one.other) if row >= 0})
    images = [image for part, own in audited.at(rows) for image in thumbnails(part, own)]
    return dict(zip(rows, images, strict=True))


def main(args: list[str] | None = None) -> None:
    """Parse the command line and audit; the first word may be the source."""
    args = list(sys.argv[1:] if args is None else args)
    if args and not args[0].startswith("-"):
        args = ["--data.source", *args]
    config, _ = parse(AuditConfig, [*data_of_run(args), *args], kind="audit")
    audit(config)
