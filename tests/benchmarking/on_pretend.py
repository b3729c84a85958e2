"""Worker of test_numerics: the checks that need no command, on the pretend device."""

import tempfile
from pathlib import Path

import pretend
import torch

from ssl_dml.benchmarking import CHECKS, Setting, run_checks
from ssl_dml.benchmarking.running import shown


def main():
    """Run the checks; exit with the number of those that do not pass."""
    torch.set_num_threads(1)
    pretend.install()
    setting = Setting(
        device=torch.device(pretend.NAME, 0), small=True, folder=Path(tempfile.mkdtemp()),
        command=["false"],
    )  # fmt: skip
    outcomes = list(run_checks({number: CHECKS[number] for number in (1, 2, 9)}, setting))
    print(*map(shown, outcomes), sep="\n")
    raise SystemExit(sum(outcome.state != "pass" for outcome in outcomes))


if __name__ == "__main__":
    main()
