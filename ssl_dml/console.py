"""How a command ends: its exit code, and a user's mistake as one line."""

import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from ssl_dml.offline import keep_offline
from ssl_dml.progress import say
from ssl_dml.stops import Interrupted, NonFiniteError
from ssl_dml.types import ConfigError

PACKAGE = Path(__file__).parent


def run_main(main: Callable[[], object]) -> NoReturn:
    """Run a command and leave with its exit code; say a user's mistake in one line.

    A ``ValueError`` that this package raised on purpose and an ``OSError`` are told without a
    traceback. Anything else is a bug and keeps it.
    """
    keep_offline()
    try:
        main()
        sys.exit(0)
    except Interrupted as stop:
        say(str(stop))
        sys.exit(stop.exit_code)
    except (ValueError, OSError) as error:
        told = isinstance(error, (OSError, ConfigError, NonFiniteError)) or _raised_here(error)
        if not told:
            raise
        if os.environ.get("RANK", "0") != "0":
            # Every rank usually fails alike; give the first the time to speak for all.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(2)
        line = re.sub(r"\s*\n\s*", " ", str(error))
        bars: Any = tqdm
        for bar in list(bars._instances):  # they would be drawn over the line
            bar.close()
        print(f"error: {line}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        print("interrupted; a run with checkpoints goes on with --resume true", file=sys.stderr)
        sys.exit(130)


def _raised_here(error: BaseException) -> bool:
    """Whether the statement that raised stands in a file of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and PACKAGE in Path(frames[-1].filename).parents
