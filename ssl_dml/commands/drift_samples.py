"""New samples that a test of drift compares with a sketch: rows of a table, or of a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from ssl_dml.backbones.digest import weights_digest
from ssl_dml.commands.embed import EmbedConfig, opened
from ssl_dml.data.originals import open_sample
from ssl_dml.evaluation.embed import embed, encoder
from ssl_dml.evaluation.embed_table import within
from ssl_dml.evaluation.sketch import chosen
from ssl_dml.reporting.thumbnails import small, thumbnails
from ssl_dml.tables import EmbeddingTable, StoredTable
from ssl_dml.training.accelerator import use_processor
from ssl_dml.types import ConfigError

Images = Callable[[Int[Tensor, " rows"]], Sequence[Image.Image | None]]


@dataclass(frozen=True, kw_only=True)
class NewSamples:
    """Samples to compare with the sketch.

    Args:
        table: Their embeddings and names.
        class_names: Names of their labels.
        source: Where they are from.
        total: How many there were to choose from.
        damaged: Those left out.
        images: Small images of some of the rows.
    """

    table: EmbeddingTable
    class_names: Sequence[str]
    source: str
    total: int
    damaged: Sequence[str]
    images: Images


def check_same(table: StoredTable, digest: object, what: str) -> None:
    """Raise if a table was not embedded by these weights, as they are used in training."""
    info = table.info
    if info.weights.get("digest") != digest:
        raise ConfigError(
            f"{table.folder} and {what} are of different weights; embed with those of the run"
        )
    if info.pool is not None or info.views not in (None, "one"):
        raise ConfigError(
            f"{table.folder} has pool {info.pool} and views {info.views}; embed without them"
        )


def of_table(folder: Path, sketch: StoredTable, *, most: int, seed: int) -> NewSamples:
    """Some rows of a table, with their images where these are found again.

    Raises:
        ConfigError: If it is of other weights than the sketch.
    """
    stored = StoredTable(folder)
    check_same(stored, sketch.info.weights.get("digest"), str(sketch.folder))
    rows = chosen(stored.info.rows, most, seed=seed)
    table = stored.load().at(rows)
    return NewSamples(
        table=table,
        class_names=stored.info.class_names or (),
        source=str(folder),
        total=stored.info.rows,
        damaged=(),
        images=lambda own: [image_of(stored, name) for name in table.at(own).names or ()],
    )


def of_data(config: EmbedConfig, sketch: StoredTable, *, most: int, seed: int) -> NewSamples:
    """Some samples of a data set, embedded as training would.

    Raises:
        ConfigError: If the sketch is of other weights.
    """
    begin, samples = opened(config, "drift.json")
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    use_processor(None)
    backbone = begin.backbone(samples.spec).eval()
    check_same(sketch, weights_digest(backbone), str(config.weights))
    rows = chosen(len(samples), most, seed=seed)
    encode = encoder(backbone.to(accelerator.device), accelerator.device)
    features = embed(encode, samples, rows, device=accelerator.device)
    accelerator.end_training()
    root = Path(config.data.source).expanduser().absolute()
    labels = torch.full_like(rows, -1) if samples.labels is None else samples.labels[rows]
    names = [within(root, name) for name in samples.names.at(rows.tolist())]
    return NewSamples(
        table=EmbeddingTable(embeddings=features, labels=labels, names=names),
        class_names=samples.class_names,
        source=config.data.source,
        total=len(samples),
        damaged=samples.damaged,
        images=lambda own: thumbnails(samples, rows[own]),
    )


def image_of(table: StoredTable, name: str) -> Image.Image | None:
    """A small image of a row, if it is where the table says."""
    try:
        return small(open_sample(table.info.data, name))
    except (ConfigError, OSError, ValueError):
        return None
