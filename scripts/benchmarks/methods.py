"""One table of methods: what each reaches, how fast, and in how much memory."""

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import psutil
import yaml
from accelerate.commands import accelerate_cli

from ssl_dml.progress import progress

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Two-sided 95% quantiles of Student's t, by the number of seeds.
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one run came to.

    Args:
        random: Weighted kNN top-1 of the backbone before training.
        reference: The same of what a representation has to beat.
        reference_name: What that is.
        knn: The same after the last epoch.
        linear: Linear probe's top-1 after the last epoch.
        speed: Samples a second, the median over the run's log.
        megabytes: Largest resident memory of the run.
    """

    random: float
    reference: float
    reference_name: str
    knn: float
    linear: float
    speed: float
    megabytes: float


def run_once(config: Path, folder: Path, *, views: int, seed: int) -> Result:
    """Pretrain and probe by the scripts, as a user does; a run that is finished is read again.

    Args:
        config: Configuration of the run.
        folder: Its run folder.
        views: Augmented views to train on; the number of epochs follows from it.
        seed: Its seed.

    Raises:
        OSError: If a script fails, with the last line it wrote.
    """
    cost = folder / "cost.json"
    if not cost.exists():
        settings = yaml.safe_load(config.read_text())
        crops = settings["augment"]["init_args"]
        each = crops["crops"]["views"] if "crops" in crops else crops["views"]
        overrides = {
            "output_dir": folder,
            "seed": seed,
            "train.steps": max(1, round(views / each / settings["data"]["batch_size"])),
            "evaluation.every_epochs": 10**6,  # first and last alone
            "resume": "true",
        }
        flags = [f"--{key}={value}" for key, value in overrides.items()]
        megabytes = launch("pretrain.py", "--config", str(config), *flags)
        linear = SCRIPTS.parent / "configs" / "evaluate" / "linear.yaml"
        short = "--linear.epochs=10"  # the probe would take longer than the training
        launch("evaluate.py", "--config", str(linear), "--run", str(folder), short)
        cost.write_text(json.dumps({"megabytes": megabytes}))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    probes = [row for row in rows if "eval/knn_top1" in row]
    name = next(k for k in probes[0] if k.endswith("_knn_top1") and "bank" not in k)
    return Result(
        random=probes[0]["eval/knn_top1"],
        reference=probes[0][name],
        reference_name=name.removeprefix("eval/").removesuffix("_knn_top1").replace("_", " "),
        knn=probes[-1]["eval/knn_top1"],
        linear=json.loads((folder / "linear.json").read_text())["linear_top1"],
        speed=median(row["train/samples_per_s"] for row in rows if "train/samples_per_s" in row),
        megabytes=json.loads(cost.read_text())["megabytes"],
    )


def method_table(
    *,
    configs: list[Path] | None = None,
    views: int = 60_000,
    seeds: int = 3,
    folder: Path = Path("runs/methods"),
) -> None:
    """Train each configuration with several seeds on as many views, and print one table.

    Finished runs below ``folder`` are read, not made again. Samples a second are those of the
    fastest seed, as other work on the machine only slows a run.

    Args:
        configs: One configuration a method, all on the same data; None for all of the embedded
            images of clothes.
        views: Augmented views that each run trains on.
        seeds: Seeds 0, 1, ... of each.
        folder: Where the run folders go, and ``table.md``.

    Raises:
        ValueError: If there are too few or too many seeds for an interval.
        OSError: If a run fails.
    """
    check_seeds(seeds)
    configs = configs or _of_clothes()
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Result]] = {config.stem: [] for config in configs}
    with progress(len(configs) * seeds, "methods", "runs") as bar:
        for seed in range(seeds):
            for config in configs:
                run = folder / f"{config.stem}_{seed}"
                result = run_once(config, run, views=views, seed=seed)
                found[config.stem].append(result)
                bar.update()
                bar.write(
                    f"{run.name}: kNN {100 * result.knn:.2f}, linear {100 * result.linear:.2f}"
                )
    first = found[configs[0].stem]
    lines = [
        f"{views:,} views, {seeds} seeds, last epoch; top-1 accuracy, mean and 95% interval",
        "",
        "| configuration | random weights | weighted kNN | linear probe | samples/s | memory |",
        "|---|---|---|---|---|---|",
        *(_row(name, results) for name, results in found.items()),
        f"| {first[0].reference_name} | | {100 * first[0].reference:.2f} | | | |",
    ]
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def check_seeds(seeds: int) -> None:
    """Refuse a number of seeds that there is no interval for."""
    if seeds not in T:
        raise ValueError(f"seeds must be from 2 to {max(T)} for an interval, got {seeds}")


def _of_clothes() -> list[Path]:
    every = sorted((SCRIPTS.parent / "configs" / "pretrain").glob("*.yaml"))
    read = {path: yaml.safe_load(path.read_text()) for path in every}
    # Small views are views of another kind, and benchmark.py multi_crop measures them.
    return [
        path
        for path, settings in read.items()
        if settings["data"]["source"] == "fashion_mini" and "local_views" not in str(settings)
    ]


def _row(name: str, results: list[Result]) -> str:
    return (
        f"| `{name}` | {interval([r.random for r in results])} | "
        f"{interval([r.knn for r in results])} | "
        f"{interval([r.linear for r in results])} | {max(r.speed for r in results):,.0f} | "
        f"{median(r.megabytes for r in results):,.0f} MB |"
    )


def interval(values: list[float]) -> str:
    """Mean and half-width of its 95% interval, in percent."""
    half = T[len(values)] * stdev(values) / math.sqrt(len(values))
    return f"{100 * mean(values):.2f} ± {100 * half:.2f}"


def launch(script: str, *arguments: str) -> float:
    """Run a script by accelerate; the largest resident memory of it, in megabytes."""
    launcher: Any = accelerate_cli.__name__
    command = [sys.executable, "-m", launcher, "launch", "--quiet", str(SCRIPTS / script)]
    peak = 0
    with tempfile.TemporaryFile("w+") as said:  # a pipe that nobody reads would fill up
        process = subprocess.Popen([*command, *arguments], stdout=said, stderr=said)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [watched, *watched.children(recursive=True)]
                peak = max(peak, *(member.memory_info().rss for member in family))
            time.sleep(0.05)
        if process.returncode:
            said.seek(0)
            last = (said.read().strip() or f"exit code {process.returncode}").splitlines()[-1]
            raise OSError(f"{script} {' '.join(arguments)}: {last}")
    return peak / 2**20
