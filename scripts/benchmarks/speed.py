"""The real run beside its bare network, for methods, channels and sizes."""

from collections.abc import Sequence
from pathlib import Path

from ssl_dml.commands.benchmark import compare_speed, sides
from ssl_dml.commands.finetune import FinetuneConfig
from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import parse
from ssl_dml.files import write_json

CONFIGS = Path(__file__).parents[2] / "configs"
RUNS = {
    "SimCLR": "pretrain/default",
    "MoCo v2": "pretrain/moco_v2",
    "NPID": "pretrain/npid",
    "ArcFace": "finetune/arcface",
}


def speed_table(
    *,
    channels: Sequence[int] = (1, 3),
    sizes: Sequence[int] = (32, 64),
    methods: Sequence[str] = tuple(RUNS),
    rounds: int = 5,
    steps: int = 10,
    output: Path | None = None,
) -> None:
    """Print samples a second of real runs and of their bare networks, and the ratio.

    Args:
        channels: 1 for gray, 3 for color.
        sizes: Sides of the images, in pixels.
        methods: Which of SimCLR, MoCo v2, NPID and ArcFace.
        rounds: Turns that real run and bare network take.
        steps: Steps in a turn.
        output: JSON file for the table.

    Raises:
        ValueError: If a method is none of them.
    """
    for name in methods:
        if name not in RUNS:
            raise ValueError(f"there is no method {name!r}; choose of {', '.join(RUNS)}")
    table: dict[str, dict[str, float]] = {}
    for name in methods:
        for count in channels:
            for size in sizes:
                found = _ratio(RUNS[name], count, size, rounds=rounds, steps=steps)
                label = f"{name}, {'gray' if count == 1 else 'color'}, {size} px"
                table[label] = found
                print(
                    f"{label:24} {found['real']:8.0f} samples/s  {found['bare']:8.0f} bare  "
                    f"{found['ratio']:6.3f}",
                    flush=True,
                )
    if output is not None:
        write_json(output, table)


def _ratio(run: str, channels: int, size: int, *, rounds: int, steps: int) -> dict[str, float]:
    kind = FinetuneConfig if run.startswith("finetune") else PretrainConfig
    flags = [f"--data.channels={channels}", f"--data.image_size={size}"]
    config, values = parse(kind, flags, default=CONFIGS / f"{run}.yaml")
    with sides(config, values) as found:
        of = {"samples": found.samples, "device": found.device}
        return compare_speed(found.real, found.bare, rounds=rounds, steps=steps, **of)
