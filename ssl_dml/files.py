"""Files that are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where the machine stops."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")
