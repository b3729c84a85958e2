"""Open sequences: audio folders, tables, ``.npz`` files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_dml.checks import in_range, positive
from ssl_dml.config import ConfigError
from ssl_dml.data.arrays import NpzArrays, TableArrays
from ssl_dml.data.audio import MAX_RATE, AudioFiles
from ssl_dml.data.folders import LabeledFiles, Memory, audio_below
from ssl_dml.data.listings import listed_files, path_column
from ssl_dml.data.opening import TableOptions, is_folder_of_files, locate, open_table
from ssl_dml.data.recordings import Recordings, Segments, SequenceDecoder
from ssl_dml.progress import say

MAX_DEFAULT_LENGTH = 65_536


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """How audio and other series become sequences of one length.

    Longer ones are cut into consecutive segments, each a sample of its own; a remainder counts
    if it is at least half a segment. Shorter ones are padded with zeros.

    Args:
        sampling_rate: Values a second. Audio with another sampling rate is resampled; null for
            series whose time has no unit.
        length: Length of a sequence, in values; null takes that of the longest, at most 65,536.
        column: Column of a table that holds lists ``[time]`` or ``[channels, time]``.
        trim: Leave out silence at both ends of an audio file: frames of 10 ms that are this many
            dB or more below its loudest. Null keeps it.
    """

    sampling_rate: int | None = 16_000
    length: int | None = None
    column: str = "sequence"
    trim: float | None = 30.0


def open_sequences(
    where: str,
    split: str,
    *,
    config: SequenceConfig,
    channels: int | None,
    label_column: str,
    missing_labels: bool = True,
    use_splits: bool = True,
    skip_damaged: bool = False,
    cache_dir: Path | None = None,
) -> tuple[Segments, SequenceDecoder] | None:
    """Open the sequences that ``data.source`` names; None if it has no such split.

    Args:
        where: A folder of audio files, an ``.npz`` file, parquet files, a folder saved by
            ``datasets``, or the name of a data set on the hub.
        split: ``"train"`` or ``"test"``.
        config: Sampling rate, length and column.
        channels: Number of channels; None for 1 in audio, and for the largest number otherwise.
        label_column: Column of labels in a table.
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
        use_splits: Whether names such as train and test tell the splits.
        skip_damaged: Leave damaged parquet files out instead of raising.
        cache_dir: Where it is kept what was found below a folder; None to keep nothing.

    Raises:
        ConfigError: If the source does not exist or holds no sequences.
    """
    given = TableOptions((config.column, label_column), use_splits, skip_damaged)
    labels = {"label_column": label_column, "missing_labels": missing_labels}
    recordings = _open(where, split, config, channels, given, labels, cache_dir)
    if recordings is None:
        return None
    longest = max(recordings.lengths)
    length = config.length or max(1, min(longest, MAX_DEFAULT_LENGTH))
    if config.length is None and {*recordings.lengths} != {length}:
        say(
            f"sequences have up to {longest:,} values: each is cut, or padded with zeros, to "
            f"{length:,}; --data.sequences.length sets another"
        )
    decoder = SequenceDecoder(
        channels=channels or recordings.channels,
        length=length,
        sampling_rate=config.sampling_rate,
        kept_as=recordings.dtype,
        trim=config.trim if isinstance(recordings, AudioFiles) else None,
    )
    return Segments(recordings, length), decoder


def _open(
    where: str,
    split: str,
    config: SequenceConfig,
    channels: int | None,
    given: TableOptions,
    labels: dict[str, Any],
    cache_dir: Path | None,
) -> Recordings | None:
    path, memory = locate(where), None
    if cache_dir is not None and path.is_dir():
        own = {"use_splits": given.use_splits, "cache_dir": cache_dir, "audio": True}
        memory = Memory(path, split, **own)
        if (known := memory.known()) is not None:
            return None if known[0] is None else _audio(path, known[0], config, channels)
    if path.suffix == ".npz":
        return (
            NpzArrays(path, missing_labels=labels["missing_labels"]) if split == "train" else None
        )
    if is_folder_of_files(path):
        files = audio_below(path, split, use_splits=given.use_splits, memory=memory)
        return None if files is None else _audio(path, files, config, channels)
    table = open_table(where, path, split, given)
    if table is None:
        return None
    if column := path_column(table, config.column):
        return _audio(path, listed_files(table, column, **labels), config, channels)
    about = {"column": config.column, "notes": table.notes}
    return TableArrays(table.rows, table.identity, table.name, **about, **labels)


def _audio(
    path: Path, files: LabeledFiles, config: SequenceConfig, channels: int | None
) -> AudioFiles:
    if config.sampling_rate is None:
        raise ConfigError(
            "data.sequences.sampling_rate must be given for audio, as in "
            "--data.sequences.sampling_rate 16000"
        )
    positive("data.sequences", trim=config.trim)
    in_range(1, MAX_RATE, "data.sequences", sampling_rate=config.sampling_rate)
    options = {"channels": channels or 1, "trim": config.trim}
    return AudioFiles(path, files, sampling_rate=config.sampling_rate, **options)
