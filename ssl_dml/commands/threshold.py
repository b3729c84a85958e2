"""From which cosine on two samples are the same: ``ssl_dml threshold TABLE --far 0.001``."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones import load
from ssl_dml.backbones.digest import weights_digest
from ssl_dml.backbones.saved import METADATA, read_metadata
from ssl_dml.checks import inside, seeds
from ssl_dml.config import parse
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.calibration import Curve, calibrate
from ssl_dml.evaluation.identity_pairs import IdentityPairs
from ssl_dml.evaluation.stored import stored_tables
from ssl_dml.evaluation.thresholds import (
    TooFewIdentitiesError,
    binomial_interval,
    far_interval,
    far_threshold,
    refusal,
)
from ssl_dml.progress import say
from ssl_dml.tables import EmbeddingTable, StoredTable, TableInfo
from ssl_dml.threshold_file import Threshold, Unknown, write_threshold
from ssl_dml.types import ConfigError

FEWEST = 10  # identities of which anything can be said
WIDTH = 4096  # queries that search at once


@dataclass(frozen=True, kw_only=True)
class ThresholdConfig:
    """A threshold for the embeddings of a table, whose classes are identities.

    Args:
        table: Folder that ``ssl_dml embed`` wrote, of labeled samples that the model was not
            trained on.
        far: False acceptance rate: largest share of the pairs of different identities that are
            taken for the same.
        confidence: Chance, over draws of identities, that a promised rate is not exceeded.
        fpir: False positive identification rate: largest share of unknown queries that are not
            refused.
        gallery: Table that unknown queries search, as an index of it will be; identities of
            ``table`` that it lacks are unknown. Without it half of the identities are the gallery.
        seed: Of how identities are divided, and of the bootstrap.
    """

    table: Path
    far: float = 0.001
    confidence: float = 0.95
    fpir: float = 0.05
    gallery: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        inside(0, 1, "threshold", far=self.far, confidence=self.confidence, fpir=self.fpir)
        seeds("threshold", seed=self.seed)


def threshold(config: ThresholdConfig) -> Threshold:
    """Find the threshold, print what it promises, and write it beside table and model.

    Raises:
        ConfigError: If the table cannot be read, or has too few identities for what is asked.
    """
    info = StoredTable(config.table).info
    digest = _digest(config.table, info)
    table, gallery = _opened(config)
    pairs = IdentityPairs(table, seed=config.seed)
    try:
        found = _threshold(config, table, gallery, pairs, info, digest)
    except TooFewIdentitiesError as error:
        raise ConfigError(f"{config.table}: {error}") from error
    say("\n".join(found.lines()))
    folders = [config.table, *([config.gallery] if config.gallery else [])]
    model = _model_of(info, digest)
    if model and _trained_on(model, info):
        say(
            "The model was trained on these samples, and tells them apart better than new ones: "
            "calibrate on identities that it has not seen."
        )
    for folder in [*folders, *([model] if model else [])]:
        say(f"written: {write_threshold(folder, found)}")
    return found


def _digest(folder: Path, info: TableInfo) -> str:
    """Digest of the weights that embedded a table.

    Raises:
        ConfigError: If the table does not say it, or its cosines are not those of the model.
    """
    digest = info.weights.get("digest")
    if not isinstance(digest, str) or not digest:
        raise ConfigError(f"{folder} does not say which weights embedded it; embed again")
    if info.dtype == "bit":
        raise ConfigError(
            f"{folder} holds bits alone, whose cosines are not those of the model; embed with "
            "--dtype float32"
        )
    return digest


def _opened(config: ThresholdConfig) -> tuple[EmbeddingTable, EmbeddingTable | None]:
    """The labeled rows of the table, and all rows of the gallery, classes numbered alike."""
    tables, _ = stored_tables(config.table, config.gallery, labeled=False)
    for folder, one in zip((config.table, config.gallery), tables, strict=False):
        if not one.embeddings.isfinite().all():
            raise ConfigError(f"{folder} holds NaN or infinity; embed again")
    table, gallery = tables[0], tables[1] if len(tables) > 1 else None
    table = table.at((table.labels >= 0).nonzero()[:, 0])
    classes, counts = table.labels.unique(return_counts=True)
    if len(classes) < FEWEST or int((counts > 1).sum()) < FEWEST:
        raise ConfigError(
            f"{config.table} has {len(classes):,} classes, {int((counts > 1).sum()):,} of them "
            f"with two samples; a threshold needs {FEWEST} identities with two samples each"
        )
    return table, gallery


def _threshold(
    config: ThresholdConfig,
    table: EmbeddingTable,
    gallery: EmbeddingTable | None,
    pairs: IdentityPairs,
    info: TableInfo,
    digest: str,
) -> Threshold:
    histograms = pairs.histograms()
    other = histograms.other.sum((0, 1))
    tail = other[::-1].cumsum()[::-1] / other.sum()
    cosine, effective = far_threshold(pairs, tail, far=config.far, confidence=config.confidence)
    curve = calibrate(histograms, identities=pairs.identities)
    return Threshold(
        digest=digest,
        pool=info.pool,
        views=info.views,
        dim=info.dim,
        threshold=cosine,
        far=config.far,
        confidence=config.confidence,
        identities=pairs.identities,
        rows=len(table.labels),
        measures=_measures(pairs, cosine, effective, curve, config.seed),
        cosines=curve.cosines.tolist(),
        same=curve.same.tolist(),
        unknown=_unknown(config, table, gallery),
    )


def _measures(
    pairs: IdentityPairs, cosine: float, effective: float, curve: Curve, seed: int
) -> dict[str, float]:
    """Rates at the threshold with their intervals, and the error of the probabilities."""
    rates = pairs.rates(cosine)
    far = far_interval(rates, without=effective)
    binomial = binomial_interval(rates.share, pairs.sample_pairs)
    tar = interval(torch.from_numpy(rates.own), seed=seed)
    return {
        **{"far": far.mean, "far_low": far.low, "far_high": far.high},
        **{"binomial_low": binomial.low, "binomial_high": binomial.high},
        **{"tar": tar.mean, "tar_low": tar.low, "tar_high": tar.high},
        "ece": curve.ece,
    }


def _unknown(
    config: ThresholdConfig, table: EmbeddingTable, gallery: EmbeddingTable | None
) -> Unknown | None:
    """When a query is refused; None, with a line, where unknown identities are too few."""
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(table.labels), generator=generator)
    classes = table.labels.unique()
    classes = classes[torch.randperm(len(classes), generator=generator)]
    if gallery is None:
        known, classes = classes.chunk(2)
        rows = table.embeddings[torch.isin(table.labels, known)]
    else:
        classes, rows = classes[~torch.isin(classes, gallery.labels)], gallery.embeddings
    found, first = np.unique(table.labels[order].numpy(), return_index=True)
    chosen = order[torch.from_numpy(first)[torch.isin(torch.from_numpy(found), classes)]]
    scores = highest(table.embeddings[chosen], rows)
    try:
        cosine = refusal(scores, fpir=config.fpir, confidence=config.confidence)
    except TooFewIdentitiesError as error:
        say(f"{config.table}: {error}; unknown queries are not refused")
        return None
    count = len(scores)
    return Unknown(threshold=cosine, fpir=config.fpir, identities=count, gallery_rows=len(rows))


def highest(
    queries: Float[Tensor, "queries dim"], gallery: Float[Tensor, "rows dim"]
) -> Float[np.ndarray, " queries"]:
    """Cosine of each query with the gallery row that is nearest.

    >>> highest(torch.tensor([[3.0, 4.0]]), torch.eye(2))
    array([0.8], dtype=float32)
    """
    queries = F.normalize(queries, dim=1)
    found = torch.full((len(queries),), -1.0)
    for part in gallery.split(WIDTH):
        near = F.normalize(part, dim=1)
        for own in torch.arange(len(queries)).split(WIDTH):
            found[own] = found[own].maximum((queries[own] @ near.T).amax(1))
    return found.numpy()


def _model_of(info: TableInfo, digest: str) -> Path | None:
    """Folder of the saved backbone that embedded the table; None if it is not there."""
    place = Path(str(info.weights.get("path") or "")).expanduser()
    folder = next((p for p in (place, place / "backbone") if (p / METADATA).is_file()), None)
    if folder is None:
        return None
    try:
        found = weights_digest(load(folder))
    except ValueError as error:
        say(f"not written beside the model: {error}")
        return None
    if found != digest:
        say(f"not written beside the model: {folder} is another one by now")
        return None
    return folder


def _trained_on(model: Path, info: TableInfo) -> bool:
    """Whether a table is of the training samples of a saved model."""
    data = (read_metadata(model).get("trained") or {}).get("data")
    own = data.get("fingerprint") if isinstance(data, dict) else None
    split = info.data.get("split")
    return own is not None and own == info.data.get("fingerprint") and split in (None, "train")


def main(args: list[str] | None = None) -> Threshold:
    """Parse the command line and find the threshold; the first word is the table."""
    args = list(sys.argv[1:] if args is None else args)
    if args and not args[0].startswith("-"):
        args = ["--table", *args]
    config, _ = parse(ThresholdConfig, args, kind="threshold")
    return threshold(config)
