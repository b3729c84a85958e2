"""Ten checks of this machine's accelerator: ``ssl_dml benchmark accelerator``."""

import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import ssl_dml
from ssl_dml.benchmarking import CHECKS, Setting, run_checks
from ssl_dml.benchmarking.running import shown
from ssl_dml.config import parse
from ssl_dml.cores import cores
from ssl_dml.files import write_json
from ssl_dml.progress import say
from ssl_dml.training.accelerator import use_processor
from ssl_dml.types import ConfigError

AT_ONCE, CORES = 4, 4  # commands beside each other, at most; cores for each


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """Checks of the accelerator of this machine, in about ten minutes.

    Args:
        only: Numbers of checks, such as 1,4; all by default.
        small: Rehearse with sizes that measure nothing.
        output: Where outcomes are written as JSON, after each check.
    """

    only: str | None = None
    small: bool = False
    output: Path = Path("accelerator.json")

    @property
    def numbers(self) -> list[int]:
        """The checks that are asked for.

        Raises:
            ConfigError: If one of them is none.
        """
        if self.only is None:
            return list(CHECKS)
        words = self.only.split(",")
        wanted = [int(word) for word in words if word.strip().isdecimal()]
        if len(wanted) < len(words) or not set(wanted) <= CHECKS.keys():
            raise ConfigError(
                f"--only must be numbers from 1 to {len(CHECKS)}, separated by commas, got "
                f"{self.only!r}: such as --only 1,4"
            )
        return sorted(set(wanted))


def machine(device: torch.device) -> dict[str, Any]:
    """What the checks run on."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "device": device.type, "name": name, "cores": cores(), "torch": torch.__version__,
        "ssl_dml": ssl_dml.__version__,
    }  # fmt: skip


def check(config: AcceleratorConfig, setting: Setting) -> int:
    """Run the checks, print what each found, write it; the number of those that failed."""
    about, outcomes = machine(setting.device), list[dict[str, Any]]()
    say(", ".join(f"{name} {value}" for name, value in about.items()))
    if setting.device.type == "cpu":
        say("no accelerator is here: the checks are rehearsed on the CPU, and nothing is proven")
    states = list[str]()
    with tempfile.TemporaryDirectory() as folder:
        own = replace(setting, folder=Path(folder))
        for outcome in run_checks({number: CHECKS[number] for number in config.numbers}, own):
            say(shown(outcome))
            states.append(outcome.state)
            outcomes.append(asdict(outcome))
            write_json(config.output, {**about, "small": config.small, "checks": outcomes})
    counts = [f"{states.count(state)} {state}" for state in ("pass", "FAIL", "not here")]
    say(f"{', '.join(counts)}: {config.output}")
    return states.count("FAIL")


def main(args: Sequence[str] | None = None) -> None:
    """Parse the command line, check, and exit with 1 if a check fails."""
    config, _ = parse(AcceleratorConfig, args)
    use_processor(None)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device.type == "cpu" and not config.small:
        raise ConfigError("this machine has no accelerator to check: rehearse with --small true")
    setting = Setting(
        device=device,
        small=config.small,
        folder=Path(),
        command=[sys.executable, "-m", "ssl_dml"],
        at_once=cores() if config.small else max(1, min(AT_ONCE, cores() // CORES)),
    )
    if check(config, setting):
        sys.exit(1)
