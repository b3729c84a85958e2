"""Say what is understood of data, without training: ``ssl_dml describe SOURCE``."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ssl_dml.augment import unsquash
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.understood import announce
from ssl_dml.progress import say
from ssl_dml.reporting import contact_sheet
from ssl_dml.types import ConfigError

MOST_SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class DescribeConfig:
    """What to look at.

    Args:
        data: The data, as in a run.
        sheet: Image file to draw 64 samples into, spread over the data, as a network sees
            them at test time.
    """

    data: DataConfig
    sheet: Path = Path("contact_sheet.png")

    def __post_init__(self) -> None:
        known = Image.registered_extensions()
        if self.sheet.suffix.lower() not in known:
            raise ConfigError(f"--sheet must be an image file, such as a.png, got {self.sheet}")
        if not self.sheet.expanduser().absolute().parent.is_dir():
            raise ConfigError(f"--sheet {self.sheet}: there is no folder {self.sheet.parent}")


def describe(config: DescribeConfig) -> None:
    """Decode the data once, say what was understood, and draw samples."""
    train = load_train(config.data)
    announce(train, load_test(config.data, train))
    rows = torch.linspace(0, len(train) - 1, min(len(train), MOST_SAMPLES)).long()
    seen = unsquash(train[rows][0], train.aspects_at(rows), train.spec)
    sheet = (contact_sheet(seen, train.spec) * 255).round().byte().permute(1, 2, 0)
    path = config.sheet.expanduser()
    Image.fromarray(sheet.squeeze(2).numpy()).save(path)
    say(f"{len(rows)} samples as a network sees them: {path}")


def main(args: list[str] | None = None) -> None:
    """Parse the command line and describe; the first word may be the source."""
    args = list(sys.argv[1:] if args is None else args)
    if args and not args[0].startswith("-"):
        args = ["--data.source", *args]
    config, _ = parse(DescribeConfig, args, kind="describe")
    describe(config)
