"""Run checks one after another, whatever happens, and say what each found."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from ssl_dml.benchmarking.setting import FailedError, Found, NotHereError, Setting

State = Literal["pass", "FAIL", "not here"]
PACKAGE = "ssl_dml"
SMALL = 1e-3  # numbers below have an exponent


class Check(NamedTuple):
    """A check.

    Attributes:
        title: What it checks.
        function: Puts what it finds into a dictionary as it goes on. It raises
            :class:`NotHereError`, or :class:`FailedError`; any other exception is a failure too.
    """

    title: str
    function: Callable[[Setting, Found], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a check.

    Args:
        number: Its number, from 1.
        title: What it checks.
        state: Whether it passed.
        seconds: How long it took.
        reason: Why it did not pass; empty if it did.
        found: What it measured, by name.
    """

    number: int
    title: str
    state: State
    seconds: float
    reason: str = ""
    found: Found = field(default_factory=dict)


def run_checks(checks: Mapping[int, Check], setting: Setting) -> Iterator[Outcome]:
    """Run checks in order, and yield what became of each; one that fails does not end the others.

    Args:
        checks: The checks by number.
        setting: Where they run.
    """
    for number, check in checks.items():
        found, state, reason = dict[str, object](), "pass", ""
        began = time.perf_counter()
        try:
            check.function(setting, found)
        except NotHereError as error:
            state, reason = "not here", str(error)
        except FailedError as error:
            state, reason = "FAIL", str(error)
        except Exception as error:  # whatever a device may do
            state, reason = "FAIL", f"{type(error).__name__}: {error} at {_place(error)}"
        seconds = time.perf_counter() - began
        own: State = state  # pyright: ignore[reportAssignmentType]
        yield Outcome(
            number=number, title=check.title, state=own, seconds=seconds, reason=reason, found=found
        )


def _place(error: Exception) -> str:
    """The innermost line of the toolkit that an exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if PACKAGE in Path(frame.filename).parts]
    last = (own or list(frames))[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def shown(outcome: Outcome) -> str:
    """An outcome as lines of text.

    >>> found = {"largest difference": 1.25e-7, "cases": 47}
    >>> print(shown(Outcome(number=1, title="losses", state="pass", seconds=14.6, found=found)))
     1  pass        15 s  losses
                          largest difference: 1.2e-07
                          cases: 47
    """
    lines = [f"{outcome.number:2}  {outcome.state:8} {outcome.seconds:5.0f} s  {outcome.title}"]
    space = " " * 22
    lines += [f"{space}{name}: {_value(value)}" for name, value in outcome.found.items()]
    lines += [space + line for line in outcome.reason.splitlines()]
    return "\n".join(lines)


def _value(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if abs(value) >= SMALL else f"{value:.2g}"
