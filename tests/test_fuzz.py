"""Every reader against files with changed bytes: read, counted as damaged, or refused in a line."""

import resource
import signal
import time
from collections import Counter

import pytest
from fuzzing import KINDS, attempt, corpus, generator

SECONDS = 20  # for one file
GROWTH = 1 << 20  # KiB of memory that reading small files may take beyond what is there already


class Slow(BaseException):
    """A file took too long."""


def overdue(*_):
    raise Slow


def fuzz(kind, folder, numbers):
    files, found = corpus(kind, folder / "corpus"), Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, overdue)
    for number in numbers:
        file = files[number % len(files)]
        signal.alarm(SECONDS)
        try:
            found[attempt(kind, file, folder / "mutant", generator(kind, number))] += 1
        except BaseException as error:
            raise AssertionError(f"{kind} {number}, a mutant of {file.name}: {error!r}") from error
        finally:
            signal.alarm(0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < GROWTH, f"{kind} {number}, a mutant of {file.name}: {grown:,} KiB"
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_are_read_or_refused(kind, tmp_path):
    found = fuzz(kind, tmp_path, range(30))
    assert found.total() == 30


FOUND = {
    "metadata of a column of which Arrow ended the process": ("tables", 2051),
    "a recording of 315 bytes with a million segments": ("audio", 3109),
    "a stored table with more rows than it says": ("stored", 6401),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutant", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_mended(mutant, tmp_path):
    kind, number = mutant
    assert fuzz(kind, tmp_path, [number]) == {"refused": 1}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_are_read_or_refused_for_long(kind, tmp_path, pytestconfig):
    seconds, first = pytestconfig.getoption("fuzz_seconds"), pytestconfig.getoption("fuzz_from")
    end, done = time.monotonic() + seconds, Counter()

    def numbers():
        number = first
        while time.monotonic() < end:
            yield number
            number += 1

    done = fuzz(kind, tmp_path, numbers())
    print(f"{kind}: {dict(done)}")
    assert done.total() > 0
