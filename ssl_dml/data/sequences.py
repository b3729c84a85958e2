"""Where sequences come from: audio, tables, arrays."""

from dataclasses import dataclass

from ssl_dml.config import ConfigError
from ssl_dml.data.arrays import NpzArrays, TableArrays
from ssl_dml.data.audio import AudioFiles
from ssl_dml.data.recordings import Recordings, Segments, SequenceDecoder
from ssl_dml.data.sources import is_folder_of_files, locate, open_table, split_folder
from ssl_dml.progress import say

LONGEST = 65_536


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """How recordings and series become sequences of one length.

    Long ones are cut into consecutive pieces, each a sample of its own; what remains at the end
    is one too when it is at least half a piece. Short ones have zeros at the end.

    Args:
        sampling_rate: Values a second. Audio of another sampling rate is resampled to it; null
            for series whose time has no unit.
        length: Values in a sequence; None takes that of the longest, 65,536 at most.
        column: Column of a table that holds lists ``[time]`` or ``[channels, time]``.
    """

    sampling_rate: int | None = 16_000
    length: int | None = None
    column: str = "sequence"


def open_sequences(
    where: str,
    split: str,
    *,
    config: SequenceConfig,
    channels: int | None,
    label_column: str,
) -> tuple[Segments, SequenceDecoder] | None:
    """Open what ``data.source`` names; None if it is there but has no such split.

    Args:
        where: A folder of audio files, an ``.npz`` file, parquet files, a folder saved by
            ``datasets``, or the name of a data set on the hub.
        split: ``"train"`` or ``"test"``.
        config: How they become sequences of one length.
        channels: Number of channels; None for 1 of audio and the most of any other sequence.
        label_column: Column of labels in a table.

    Raises:
        ConfigError: If there is nothing of that name, or no sequence in it.
    """
    recordings = _open(where, split, config, channels, label_column)
    if recordings is None:
        return None
    longest = max(recordings.lengths)
    length = config.length or max(1, min(longest, LONGEST))
    if config.length is None and {*recordings.lengths} != {length}:
        say(
            f"sequences have up to {longest:,} values: each is cut, or filled with zeros, to "
            f"{length:,}; --data.sequences.length sets another"
        )
    decoder = SequenceDecoder(
        channels=channels or recordings.channels,
        length=length,
        sampling_rate=config.sampling_rate,
        kept_as=recordings.dtype,
    )
    return Segments(recordings, length), decoder


def _open(
    where: str, split: str, config: SequenceConfig, channels: int | None, label_column: str
) -> Recordings | None:
    path = locate(where)
    if path.suffix == ".npz":
        return NpzArrays(path) if split == "train" else None
    if is_folder_of_files(path):
        inside = split_folder(path, split)
        if inside is None:
            return None
        if config.sampling_rate is None:
            raise ConfigError(
                "data.sequences.sampling_rate must be given for audio, as in "
                "--data.sequences.sampling_rate 16000"
            )
        return AudioFiles(inside, sampling_rate=config.sampling_rate, channels=channels or 1)
    opened = open_table(where, path, split)
    if opened is None:
        return None
    table, identity = opened
    return TableArrays(table, identity, where, column=config.column, label_column=label_column)
