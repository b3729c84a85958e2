"""Images to search with: found, embedded by the model of an index, and answered."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

import ssl_dml
from ssl_dml.console import plain
from ssl_dml.data.folders import is_audio
from ssl_dml.data.images import is_image
from ssl_dml.data.walk import find_files
from ssl_dml.index.index import Index, check_weights
from ssl_dml.progress import say
from ssl_dml.threshold_file import NO_LIMITS, Limits
from ssl_dml.types import ConfigError


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A row that was found.

    Args:
        rank: From 1.
        score: Cosine with the query, from -1 to 1.
        path: Path or key of its sample.
        class_name: Its class, where it is known.
        id: Its number in the index.
    """

    rank: int
    score: float
    path: str
    class_name: str | None
    id: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """An image and what was found with it.

    Args:
        path: Of the image.
        hits: From near to far.
        limits: What hits must reach.
    """

    path: Path
    hits: Sequence[Hit]
    limits: Limits = NO_LIMITS

    @property
    def refusal(self) -> str | None:
        """That it shows nothing of the index, if its best match is not similar enough."""
        return self.limits.refusal(self.hits[0].score if self.hits else None)

    @property
    def split(self) -> tuple[int, str] | None:
        """How many hits are the same, in words; None without a threshold."""
        if (limit := self.limits.same) is None:
            return None
        above = sum(hit.score >= limit for hit in self.hits)
        who = {0: "none is", 1: "the one above is"}.get(above, f"the {above} above are")
        return above, f"threshold {limit:.4f}: {who} the same"

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        found: dict[str, object] = {"query": str(self.path)}
        if self.limits.same is not None:
            found["threshold"] = self.limits.same
        if self.limits != NO_LIMITS:
            found["unknown"] = self.refusal is not None
        return {**found, "results": [asdict(hit) for hit in self.hits]}

    def table(self) -> str:
        """As a terminal shows it.

        >>> hits = [Hit(rank=1, score=0.9187, path="a/1.png", class_name="cat", id=7)]
        >>> print(Query(path=Path("q.png"), hits=hits).table())
        q.png
          1  0.9187  cat  a/1.png
        >>> limits = Limits(same=0.95, known=0.93)
        >>> print(Query(path=Path("q.png"), hits=hits, limits=limits).table())
        q.png: unknown: no match reaches 0.9300
             threshold 0.9500: none is the same
          1  0.9187  cat  a/1.png
        """
        names = [plain(hit.class_name or "-") for hit in self.hits]
        width = max(map(len, names), default=0)
        lines = [
            f"{hit.rank:>3}  {hit.score:6.4f}  {name:{width}}  {plain(hit.path)}"
            for hit, name in zip(self.hits, names, strict=True)
        ]
        if self.split is not None:
            above, words = self.split
            lines.insert(above, f"     {words}")
        refusal = f": {self.refusal}" if self.refusal else ""
        return "\n".join([f"{plain(str(self.path))}{refusal}", *lines])


def model_of(index: Index, weights: str | None = None) -> "ssl_dml.EmbeddingModel":
    """The model that embedded the rows of an index.

    Args:
        index: The index.
        weights: What to load; None for what the table names.

    Raises:
        ConfigError: If it cannot be loaded, or is another model; both are named then.
    """
    info = index.info.table
    path = weights or str(info.weights.get("path") or "")
    if not path:
        raise ConfigError(f"{index.folder} does not name its model; give it with --weights")
    given = {"pool": info.pool, "views": info.views}
    try:
        model = ssl_dml.load(path, **{name: value for name, value in given.items() if value})
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"the model of {index.folder}: {error}; give it with --weights"
        ) from error
    check_weights(index.folder, info, path, model.digest)
    if info.dim == model.dim:
        return model
    parts = model.backbone, model.decoder, model.device
    return ssl_dml.EmbeddingModel(*parts, pool=info.pool, views=model.views, dim=info.dim)


def queries_of(paths: Sequence[Path], index: Index) -> Iterator[tuple[list[Path], bool]]:
    """The files that were named, and those of each folder that was, which may be damaged.

    Raises:
        ConfigError: If there is nothing to search with.
    """
    wanted = is_image if index.info.table.modality == "image" else is_audio
    yield [path for path in paths if not path.is_dir()], False
    for folder in (path for path in paths if path.is_dir()):
        found = find_files(folder, wanted).paths
        if not found:
            raise ConfigError(f"{folder} has no {'images' if wanted is is_image else 'audio'}")
        yield found, True


def embedded(
    model: "ssl_dml.EmbeddingModel", paths: Sequence[Path], *, skip: bool
) -> tuple[list[Path], Float[Tensor, "known dim"]]:
    """Embeddings of files.

    Args:
        model: The model of the index.
        paths: The files.
        skip: Whether one that cannot be read is left out with a line.

    Raises:
        ConfigError: Naming the file that cannot be read, otherwise.
    """
    try:
        return list(paths), torch.from_numpy(model.embed(paths))
    except ValueError as error:
        if not skip:
            raise ConfigError(str(error)) from error
        if len(paths) == 1:
            say(f"left out: {plain(str(error))}")
            return [], torch.empty(0, model.dim)
    half = len(paths) // 2
    parts = [embedded(model, part, skip=True) for part in (paths[:half], paths[half:])]
    return [path for known, _ in parts for path in known], torch.cat([rows for _, rows in parts])


def answered(
    index: Index,
    paths: Sequence[Path],
    rows: Float[Tensor, "known dim"],
    k: int,
    *,
    limits: Limits = NO_LIMITS,
) -> Iterator[Query]:
    """The nearest rows of each image, with the limits that they must reach."""
    if not paths:
        return
    scores, ids = index.search(rows, k)
    for path, cosines, near in zip(paths, scores.tolist(), ids.tolist(), strict=True):
        found = zip(cosines, index.rows(near), strict=True)
        yield Query(
            path=path,
            hits=[
                Hit(rank=rank, score=score, path=row.path, class_name=row.class_name, id=row.id)
                for rank, (score, row) in enumerate(found, start=1)
            ],
            limits=limits,
        )
