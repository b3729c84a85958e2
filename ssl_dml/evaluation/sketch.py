"""A sketch of the training data: embeddings of some samples, which travels with the model."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.backbones import Backbone, load
from ssl_dml.backbones.adapters import without_adapters
from ssl_dml.backbones.digest import weights_digest
from ssl_dml.data import SampleSet
from ssl_dml.distributed import rank
from ssl_dml.evaluation.embed import embed, encoder, evaluating
from ssl_dml.evaluation.embed_table import within
from ssl_dml.tables import EmbeddingTable, StoredTable, TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError, ImageSpec

SKETCH: Final = "sketch"
ROWS = 2048


def chosen(count: int, most: int = ROWS, *, seed: int = 0) -> Int[Tensor, " rows"]:
    """Up to ``most`` of so many rows, random and in order; the same ones for a seed.

    >>> chosen(3)
    tensor([0, 1, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:most].sort().values


def rounded(embeddings: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    """Rows of length 1 with the precision of a sketch, so that both sides have the same."""
    return F.normalize(embeddings.float(), dim=1).half().float()


def write_sketch(folder: Path, table: EmbeddingTable, info: TableInfo) -> None:
    """Keep up to 2,048 random rows of a table beside the model that made it, whole or not at all.

    Args:
        folder: The saved backbone.
        table: Embeddings of its training data.
        info: What they are of.
    """
    rows = table.at(chosen(len(table.embeddings)))
    info = replace(info, rows=len(rows.labels), dtype="float16")
    batch = TableBatch(
        names=rows.names or [""] * len(rows.labels),
        labels=rows.labels,
        embeddings=rounded(rows.embeddings),
    )
    write_table(folder / SKETCH, info, [batch])


def read_sketch(folder: Path) -> StoredTable:
    """The sketch beside a saved backbone.

    Raises:
        ConfigError: If there is none, or it is damaged.
    """
    if not (folder / SKETCH).exists():
        raise ConfigError(
            f"{folder} has no sketch of its training data; embed them into a table, and "
            "ssl_dml drift --run RUN --sketch_from TABLE makes one"
        )
    return StoredTable(folder / SKETCH)


def sketch_samples(
    network: Backbone,
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    folder: Path,
    *,
    source: str,
    of: str,
    device: torch.device,
) -> None:
    """Embed up to 2,048 of some samples and keep them beside the model.

    Every process embeds its part, and the first one writes. A model whose embeddings are not
    finite has no sketch.

    Args:
        network: The model that ``folder`` holds.
        samples: The data set.
        rows: Rows of it to choose from.
        folder: The saved backbone.
        source: Where the samples are, as a configuration names it.
        of: Which of them ``rows`` are, in words.
        device: Where the network is.
    """
    rows = rows[chosen(len(rows))]
    with evaluating(network):
        features = embed(encoder(network, device), samples, rows, device=device)
    digest = weights_digest(without_adapters(network))
    if rank() != 0 or not len(features) or not features.isfinite().all():
        return
    place = Path(source).expanduser().absolute()
    origin = {"source": str(place) if place.exists() else source, "of": of}
    labels = samples.labels
    info = TableInfo(
        rows=len(rows),
        dim=features.shape[1],
        class_names=None if labels is None else samples.class_names,
        weights={"digest": digest, "path": str(folder)},
        data={**origin, "fingerprint": samples.fingerprint},
        inputs=asdict(network.inputs),
        views="one",
        modality="image" if isinstance(network.inputs, ImageSpec) else "sequence",
    )
    table = EmbeddingTable(
        embeddings=features,
        labels=torch.full_like(rows, -1) if labels is None else labels[rows],
        names=[within(place, name) for name in samples.names.at(rows.tolist())],
    )
    write_sketch(folder, table, info)


def sketch_run(
    network: Backbone,
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    run: Path,
    *,
    source: str,
    of: str,
    device: torch.device,
) -> None:
    """Sketch the model in ``backbone/`` of a run, and the one in ``best/`` if it keeps one.

    Args:
        network: The model that ``backbone/`` holds; the other one is read.
        samples: The data set.
        rows: Rows of it to choose from.
        run: The run folder.
        source: Where the samples are, as a configuration names it.
        of: Which of them ``rows`` are, in words.
        device: Where the network is.
    """
    told = {"source": source, "of": of, "device": device}
    sketch_samples(network, samples, rows, run / "backbone", **told)
    if (run / "best").exists():
        sketch_samples(load(run / "best").to(device), samples, rows, run / "best", **told)


def publish_sketch(folder: Path, target: Path) -> None:
    """Copy a sketch, if there is one, without names, classes and paths of the machine."""
    if not (folder / SKETCH).exists():
        return
    stored = read_sketch(folder)
    rows, info = stored.load(), stored.info
    source = Path(str(info.data.get("source"))).name
    table = EmbeddingTable(embeddings=rows.embeddings, labels=torch.full_like(rows.labels, -1))
    info = replace(
        info,
        class_names=None,
        weights={"digest": info.weights.get("digest")},
        data={"source": source, "of": info.data.get("of")},
    )
    write_sketch(target, table, info)
