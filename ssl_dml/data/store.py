"""Store decoded samples: in memory, in a file, or not at all and decode them on demand."""

import errno
import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64

from ssl_dml.config import ConfigError
from ssl_dml.cores import cores
from ssl_dml.data import budget
from ssl_dml.data.decoder import Decoded, Decoder
from ssl_dml.data.exclude import Some
from ssl_dml.data.on_demand import REMEDY, Array, OnDemand, attempt
from ssl_dml.data.sources import Source
from ssl_dml.files import one_at_a_time, remove, remove_leftovers, replacing
from ssl_dml.progress import progress, say
from ssl_dml.reading import read_bytes, read_json, read_text, regular

CHUNK = 512
MOST_METADATA = 1 << 32  # bytes of what is said of samples
VERSION = 6
WORTH_KEEPING = 20.0  # seconds of decoding to memory
RECORD, CONTENT, DIGESTS = "store.json", "content.sha256", "digests.bin"
FILE = "pixels.bin"  # also for sequences, to keep finding existing stores


@dataclass(frozen=True, kw_only=True)
class Store:
    """Decoded samples of a source.

    Args:
        samples: The samples; an array of indices gives a batch.
        kept: Position in the source of each sample that could be decoded.
        damaged: Name and reason of each sample that could not.
        aspects: By what factor each was wider than it is stored, see :class:`Decoded`.
        content: Digest of the decoded samples.
        digests: Eight bytes of the digest of each, equal for equal ones.
    """

    samples: "np.ndarray | OnDemand | Some"
    kept: list[int]
    damaged: list[str]
    aspects: list[float]
    content: str = ""
    digests: UInt64[np.ndarray, " samples"] = field(default_factory=lambda: np.empty(0, np.uint64))

    def only(self, rows: list[int]) -> "Store":
        """Some of the samples."""
        kept = [self.kept[row] for row in rows]
        aspects = [self.aspects[row] for row in rows]
        if isinstance(self.samples, OnDemand):
            on_demand = self.samples
            samples = OnDemand(
                on_demand.source, on_demand.decoder, kept, skip_damaged=on_demand.skip_damaged
            )
        else:
            samples = Some(self.samples, rows)
        content = hashlib.sha256(f"{self.content}{kept}".encode()).hexdigest()
        own = {"kept": kept, "aspects": aspects, "content": content}
        return replace(self, samples=samples, digests=self.digests[rows], **own)


def build_store(
    source: Source,
    decoder: Decoder,
    *,
    in_memory: bool,
    on_disk: bool,
    cache_dir: Path,
    skip_damaged: bool,
    builder: bool,
) -> Store:
    """Decode every sample once, and store the result in memory or on disk.

    Args:
        source: The undecoded samples.
        decoder: Decodes a sample.
        in_memory: Store the samples in memory. What took more than 20 seconds to decode is written
            below ``cache_dir`` too, for the next time.
        on_disk: Store them in a file below ``cache_dir``, which is written once and then mapped.
            If both are false, samples are only checked, and decoded on demand later.
        cache_dir: Folder of stores.
        skip_damaged: Leave damaged samples out instead of raising.
        builder: Whether this process may write the file, as one of each machine may; where several
            machines share ``cache_dir``, the first one writes. All others wait for it.

    Raises:
        ConfigError: If a sample is damaged and ``skip_damaged`` is false, or all are damaged.
        OSError: If the disk is full.
    """
    if in_memory:
        return _in_memory(source, decoder, cache_dir, skip_damaged=skip_damaged)
    folder = cache_dir / _key(source, decoder, on_disk)
    size = nbytes(decoder) if on_disk else 0
    stored = _stored(folder, len(source), size)
    if builder and stored is None:
        cache_dir.mkdir(parents=True, exist_ok=True)
        remove_leftovers(cache_dir)
        told = partial(say, f"waiting for {folder}, which another process writes")
        with one_at_a_time(cache_dir / f"{folder.name}.lock", told):
            if _stored(folder, len(source), size) is None:
                _write(source, decoder, folder, with_samples=on_disk, skip_damaged=skip_damaged)
    # It needs no time limit: if the builder fails, the launcher ends this process too.
    while stored is None and (stored := _stored(folder, len(source), size)) is None:
        time.sleep(0.2)
    found, content, digests = stored
    found.check(skip_damaged)
    if on_disk:
        shape = (len(found.kept), *decoder.shape)
        samples = np.memmap(folder / FILE, decoder.dtype, "r", shape=shape)
    else:
        samples = OnDemand(source, decoder, found.kept, skip_damaged=skip_damaged)
    return Store(samples=samples, content=content, digests=digests, **found._asdict())


def has_store(source: Source, decoder: Decoder, cache_dir: Path) -> bool:
    """Whether the decoded samples are on disk already; whether they are whole is seen later."""
    return (cache_dir / _key(source, decoder, True) / RECORD).exists()


def nbytes(decoder: Decoder) -> int:
    """Size of a decoded sample, in bytes."""
    return math.prod(decoder.shape) * decoder.dtype.itemsize


class _Found(NamedTuple):
    """What decoding found, see :class:`Store`."""

    kept: list[int]
    damaged: list[str]
    aspects: list[float]

    def check(self, skip_damaged: bool) -> None:
        """Raise if a sample is damaged and none may be, or all are."""
        if self.damaged and not skip_damaged:
            more = f" (and {len(self.damaged) - 1} more)" if len(self.damaged) > 1 else ""
            raise ConfigError(f"damaged sample {self.damaged[0]}{more}{REMEDY}")
        if not self.kept:
            raise ConfigError(f"every sample is damaged; the first: {self.damaged[0]}")


def _in_memory(source: Source, decoder: Decoder, cache_dir: Path, *, skip_damaged: bool) -> Store:
    """Decode to memory, and keep on disk for the next time what took long, where there is room."""
    began = time.monotonic()
    samples = np.empty((len(source), *decoder.shape), decoder.dtype)
    found, filled, digests = _Found([], [], []), 0, list[bytes]()
    for rows in _decoded(source, decoder, found, digests):
        samples[filled : filled + len(rows)] = rows
        filled += len(rows)
    found.check(skip_damaged)
    samples, summary = samples[:filled], _summary(digests)
    if (took := time.monotonic() - began) > WORTH_KEEPING:
        try:
            _keep(cache_dir / _key(source, decoder, True), samples, found, summary)
            say(f"decoding took {took:.0f} s: its result is kept in {cache_dir} for the next run")
        except OSError as error:
            say(f"decoding took {took:.0f} s and is not kept in {cache_dir}: {error.strerror}")
    return Store(samples=samples, **summary, **found._asdict())


def _keep(folder: Path, samples: Array, found: _Found, summary: dict[str, Any]) -> None:
    """Write a store of samples in memory."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_room(folder.parent, samples.nbytes)
    with replacing(folder, folder=True) as partial:
        with (partial / FILE).open("wb") as file:
            file.write(np.ascontiguousarray(samples).data)
        _describe(partial, found, summary)


def _digested(index: int, source: Source, decoder: Decoder) -> tuple[Decoded | str, bytes]:
    """A decoded sample, or what is wrong with it, and the digest of its values."""
    result = attempt(source, index, decoder)
    values = b"" if isinstance(result, str) else np.ascontiguousarray(result.values).data
    return result, hashlib.blake2b(values, digest_size=16).digest()


def _decoded(
    source: Source, decoder: Decoder, found: _Found, digests: list[bytes]
) -> Iterator[Array]:
    """Yield decoded samples chunk by chunk, and note what was found and the digests."""
    with (
        ThreadPoolExecutor(cores()) as pool,
        progress(len(source), "decoding", "samples") as bar,
    ):
        rows_at_once = budget.rows_at_once(nbytes(decoder), CHUNK)
        for start in range(0, len(source), rows_at_once):
            indices = range(start, min(start + rows_at_once, len(source)))
            rows: list[np.ndarray] = []
            work = partial(_digested, source=source, decoder=decoder)
            results = pool.map(work, indices)
            for index, (result, digest) in zip(indices, results, strict=True):
                if isinstance(result, str):
                    found.damaged.append(result)
                else:
                    digests.append(digest)
                    found.kept.append(index)
                    found.aspects.append(result.aspect)
                    rows.append(result.values)
            bar.update(len(indices))
            if rows:
                yield np.stack(rows)


def _summary(digests: list[bytes]) -> dict[str, Any]:
    """Digest of all samples, and eight bytes of that of each."""
    content = hashlib.sha256(b"".join(digests)).hexdigest()
    return {
        "content": content,
        "digests": np.frombuffer(b"".join(d[:8] for d in digests), np.uint64),
    }


def _key(source: Source, decoder: Decoder, with_samples: bool) -> str:
    parts = [VERSION, source.fingerprint, source.stamp, asdict(decoder), with_samples]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _write(
    source: Source, decoder: Decoder, folder: Path, *, with_samples: bool, skip_damaged: bool
) -> None:
    """Write a store under another name, then rename it: nobody reads a half-written one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_room(folder.parent, len(source) * nbytes(decoder) if with_samples else 0)
    if folder.exists():
        say(f"the decoded samples in {folder} are damaged: decoding again")
        remove(folder)
    found, digests = _Found([], [], []), list[bytes]()
    with replacing(folder, folder=True) as partial:
        # Writing to a mapped file would kill the process if the disk fills up.
        with (partial / FILE).open("wb") as file:
            for rows in _decoded(source, decoder, found, digests):
                if with_samples:
                    file.write(rows.tobytes())
        # Damaged samples that stop the run are not stored: the next run looks again.
        found.check(skip_damaged)
        _describe(partial, found, _summary(digests))


def _check_room(folder: Path, size: int) -> None:
    """Raise if a disk has not so many bytes."""
    if size > shutil.disk_usage(folder).free:
        raise OSError(
            errno.ENOSPC,
            f"the decoded samples need {size / 1e9:.1f} GB; free some space, or name "
            "another folder with --data.cache_dir",
            str(folder),
        )


def _describe(folder: Path, found: _Found, summary: dict[str, Any]) -> None:
    """Write what is said of the samples of a store."""
    (folder / CONTENT).write_text(summary["content"])
    (folder / DIGESTS).write_bytes(summary["digests"].tobytes())
    (folder / RECORD).write_text(json.dumps(found._asdict()))


def _stored(
    folder: Path, samples: int, size: int
) -> tuple[_Found, str, UInt64[np.ndarray, " samples"]] | None:
    """What a whole store has found, of so many samples and bytes each, content and digests."""
    try:
        found = _Found(**read_json(folder / RECORD, MOST_METADATA))
        kept, damaged, aspects = (np.asarray(part) for part in found)
        whole = not len(kept) or (kept.dtype.kind == "i" and 0 <= kept[0] <= kept[-1] < samples)
        whole &= not len(kept) or (aspects.dtype.kind in "if" and bool((aspects > 0).all()))
        whole &= bool((np.diff(kept) > 0).all()) and len(kept) == len(aspects)
        whole &= len(damaged) == samples - len(kept)
        whole &= damaged.dtype.kind == "U" or not len(damaged)
        content = read_text(folder / CONTENT)
        digests = np.frombuffer(read_bytes(folder / DIGESTS, MOST_METADATA), np.uint64)
        whole &= len(digests) == len(kept)
        whole &= regular(folder / FILE).stat().st_size == len(kept) * size
    except (OSError, ValueError, TypeError):
        return None
    return (found, content, digests) if whole else None
