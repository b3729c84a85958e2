"""Say and record what was understood of the data, before anything is trained."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt64

from ssl_dml.data.dataset import SampleSet
from ssl_dml.progress import say
from ssl_dml.types import SequenceSpec

MAX_LINES = 8


def announce(samples: SampleSet, test: SampleSet | None, *, record: str = "data.json") -> None:
    """Say in at most eight lines what was read and what was left out.

    Args:
        samples: The samples to train on.
        test: The samples to test on; None if there are none.
        record: File that tells more.
    """
    spec = samples.spec
    extent = "x".join(f"{side}" for side in reversed(samples.decoder.shape[1:]))  # width first
    extent += " values" if isinstance(spec, SequenceSpec) else ""
    lines = [f"{len(samples):,} samples of {extent}, {spec.channels} channels"]
    lines += [_labels(samples)]
    lines += [] if test is None else [f"test: {len(test):,} samples, {_labels(test)}"]
    lines += [] if samples.found is None else samples.found.lines()
    if damaged := len(samples.damaged) + (0 if test is None else len(test.damaged)):
        lines += [f"{damaged} damaged samples are left out; {record} names them"]
    lines += _notes(samples, test)
    if len(lines) > MAX_LINES:
        more = len(lines) - MAX_LINES + 1
        lines[MAX_LINES - 1 :] = [f"and {more} more lines, under notes in {record}"]
    for line in lines:
        say(line)


def announce_leak(
    trained: UInt64[np.ndarray, " samples"],
    tested: UInt64[np.ndarray, " others"],
    kind: str = "test",
) -> None:
    """Say how many of the samples that are tested on are trained on as well, if any are.

    >>> announce_leak(np.array([7, 8], np.uint64), np.array([8, 9], np.uint64))
    leak: 1 of 2 test samples are the same as samples to train on; ssl_dml audit shows which

    Args:
        trained: Digests of the samples to train on, see
            :class:`~ssl_dml.data.dataset.SampleSet`.
        tested: Digests of those to test on.
        kind: What those are called.
    """
    if count := int(np.isin(tested, trained).sum()):
        say(
            f"leak: {count:,} of {len(tested):,} {kind} samples are the same as samples to train "
            "on; ssl_dml audit shows which"
        )


def describe(samples: SampleSet, test: SampleSet | None, source: str) -> dict[str, Any]:
    """Plain metadata of a data set, for people and for what is saved."""
    return {
        "source": source,
        "samples": len(samples),
        **asdict(samples.spec),
        "decoder": asdict(samples.decoder),
        "fingerprint": samples.fingerprint,
        "content": samples.content,
        "labels": label_metadata(samples),
        "found": None if samples.found is None else samples.found.metadata(),
        "notes": _notes(samples, test),
        "damaged": samples.damaged,
        "test_samples": 0 if test is None else len(test),
        "test_labels": None if test is None else label_metadata(test),
        "test_damaged": [] if test is None else test.damaged,
    }


def _notes(samples: SampleSet, test: SampleSet | None) -> list[str]:
    """Notes on both, those on the test samples marked unless they say the same."""
    others = [] if test is None else [note for note in test.notes if note not in samples.notes]
    return [*samples.notes, *(f"test samples: {note}" for note in others)]


def label_metadata(samples: SampleSet) -> dict[str, Any] | None:
    """Where labels are from, how many samples lack one, and the smallest and largest class.

    Classes without a sample are not counted. None without labels.
    """
    if samples.labels is None:
        return None
    labels = samples.labels[samples.labels >= 0]
    present, counts = labels.unique(return_counts=True)
    ends = {"smallest_class": counts.argmin(), "largest_class": counts.argmax()}
    return {
        "labeled_by": samples.labeled_by,
        "classes": len(present),
        "unlabeled": int((samples.labels < 0).sum()),
        **{name: _class(samples, present[i], counts[i]) for name, i in ends.items()},
    }


def _class(samples: SampleSet, number: torch.Tensor, count: torch.Tensor) -> tuple[str, int]:
    return samples.class_names[int(number)], int(count)


def _labels(samples: SampleSet) -> str:
    """Labels of a data set, in words."""
    found = label_metadata(samples)
    if found is None:
        return "no labels"
    (small, least), (large, most) = found["smallest_class"], found["largest_class"]
    spread = f"{least:,}" if least == most else f"{least:,} ({small}) to {most:,} ({large})"
    text = f"labels: {found['classes']:,} classes by {samples.labeled_by}, of {spread} samples"
    return f"{text}; {found['unlabeled']:,} samples unlabeled" if found["unlabeled"] else text
