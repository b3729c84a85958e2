"""How a command ends: its exit code, and a user's mistake as one line."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from tqdm import tqdm

from ssl_dml.offline import keep_offline
from ssl_dml.progress import say
from ssl_dml.reading import raised_here
from ssl_dml.stops import Interrupted, NonFiniteError
from ssl_dml.types import ConfigError, one_line

# How torch says it, of allocations that fail and of sizes that no machine has.
OUT_OF_MEMORY = (
    r"(?i)out of memory|not enough memory|can't allocate memory|Storage size calculation overflow"
    r"|[Nn]umel: integer multiplication overflow|Invalid buffer size"
)
LONGEST = 1000  # characters of a line


def run_main(main: Callable[[], object]) -> NoReturn:
    """Run a command and leave with its exit code; say a user's mistake in one line.

    A ``ValueError`` that this package raised on purpose and an ``OSError`` are told without a
    traceback, and so is memory that does not suffice. Anything else is a bug and keeps it.
    """
    keep_offline()
    try:
        with enough_memory():
            main()
        sys.exit(0)
    except Interrupted as stop:
        say(str(stop))
        sys.exit(stop.exit_code)
    except (ValueError, OSError) as error:
        told = isinstance(error, (OSError, ConfigError, NonFiniteError)) or raised_here(error)
        if not told:
            raise
        if os.environ.get("RANK", "0") != "0":
            # Every rank usually fails alike; give the first the time to speak for all.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(2)
        bars: Any = tqdm
        for bar in list(bars._instances):  # they would be drawn over the line
            bar.close()
        print(f"error: {plain(str(error))}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        print("interrupted; a run with checkpoints goes on with --resume true", file=sys.stderr)
        sys.exit(130)


@contextmanager
def enough_memory() -> Iterator[None]:
    """Tell in one line that memory did not suffice, of the processor or of an accelerator.

    Raises:
        ConfigError: With what was asked for, and the keys to lower.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or re.search(OUT_OF_MEMORY, str(error))):
            raise
        reason = one_line(error, words=16)
        raise ConfigError(
            f"there is not enough memory ({reason}): lower data.batch_size, data.image_size, or "
            "the sizes of method, head and backbone; train.encode_chunk saves memory too"
        ) from error


def plain(text: str) -> str:
    r"""One line of at most some 1,000 characters in which a terminal finds no commands.

    >>> plain("a\x1b[31m.png\n is damaged")
    'a\\x1b[31m.png is damaged'
    """
    line = re.sub(r"\s*\n\s*", " ", text)
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    line = re.sub(r"\S{500,}", lambda found: f"{found[0][:200]}[...]{found[0][-100:]}", line)
    return line if len(line) <= LONGEST else f"{line[:600]} [...] {line[-300:]}"
