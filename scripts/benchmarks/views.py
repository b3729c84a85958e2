"""What views are worth: ours beside stock operators, and many small views beside two."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.methods import SCRIPTS, check_seeds, interval, method_table, run_once
from ssl_dml.commands.benchmark import BenchmarkConfig, benchmark
from ssl_dml.config import parse_run
from ssl_dml.progress import say

CONFIGS = SCRIPTS.parent / "configs" / "pretrain"
AGAIN = 3  # rates are medians of so many turns


def view_table(
    source: str, *, views: int = 60_000, seeds: int = 3, folder: Path = Path("runs/views")
) -> None:
    """Train SimCLR on color images by our operators and by kornia's, and print a table.

    Args:
        source: The images, as ``data.source`` takes them; see ``emoji``.
        views: Augmented views that each run trains on.
        seeds: Seeds 0, 1, ... of each.
        folder: Where the run folders go.
    """
    common = {"views": 2, "resolution": None}
    recipes = {
        "ours": ("ssl_dml.augment.Color", {"crops": common, "blur": 0.5}),
        "stock": ("benchmarks.augment.StockViews", common),
    }
    configs = []
    for name, (path, options) in recipes.items():
        settings = _settings("default", source)
        settings["augment"] = {"class_path": path, "init_args": options}
        configs.append(_written(settings, folder / f"{name}.yaml"))
    method_table(configs=configs, views=views, seeds=seeds, folder=folder)


def multi_crop_table(
    sources: Sequence[str] = ("fashion_mini",),
    *,
    minutes: float = 2.0,
    seeds: int = 3,
    folder: Path = Path("runs/multi_crop"),
) -> None:
    """Train two views, and two large and six small ones, for the same time; print a table.

    The steps of a run follow from its rate, measured in turns before.

    Args:
        sources: Data sets, as ``data.source`` takes them.
        minutes: Time of training of each run.
        seeds: Seeds 0, 1, ... of each.
        folder: Where the run folders go.
    """
    check_seeds(seeds)
    say("| data | views | samples/s | steps | weighted kNN | linear probe |")
    say("|---|---|---|---|---|---|")
    for source in sources:
        below = folder / Path(source).name
        paths = {
            name: _written(_settings(name, source), below / f"{name}.yaml")
            for name in ("default", "multi_crop")
        }
        rates = _rates(paths)
        for name, path in paths.items():
            batch = _settings(name, source)["data"]["batch_size"]
            steps = max(1, round(60 * minutes * rates[name] / batch))
            runs = [
                run_once(path, below / f"{name}_{seed}", views=2 * batch * steps, seed=seed)
                for seed in range(seeds)
            ]
            knn, linear = (interval([getattr(r, kind) for r in runs]) for kind in ("knn", "linear"))
            kind = {"default": "2", "multi_crop": "2 and 6 small"}[name]
            say(f"| {source} | {kind} | {rates[name]:,.0f} | {steps} | {knn} | {linear} |")


def _rates(paths: dict[str, Path]) -> dict[str, float]:
    """Samples a second of each configuration, in turns."""
    found: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(AGAIN):
        for name, path in paths.items():
            config, values = parse_run(
                BenchmarkConfig, ["--config", str(path)], kind="pretrain", default="default"
            )
            found[name].append(benchmark(config, values)["real"])
    return {name: median(rates) for name, rates in found.items()}


def _settings(name: str, source: str) -> dict[str, Any]:
    settings = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    settings["data"]["source"] = source
    return settings


def _written(settings: dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings))
    return path
