"""How fast images come in: surveyed and stored, decoded on demand, and known from before."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import torch
from jaxtyping import Int

from benchmarks.photographs import make_photographs
from ssl_dml.cores import cores
from ssl_dml.data import DataConfig, SampleSet, load_train, make_loader
from ssl_dml.data.known import LEAST
from ssl_dml.types import ConfigError

BATCH = 32
# Run with the package of either checkout: what both offer.
STORING = """
import sys, time
from pathlib import Path
from ssl_dml.data import DataConfig, load_train
source, cache, size = sys.argv[1:]
config = DataConfig(source=source, cache_dir=Path(cache), memory_fraction=0.0, image_size=int(size))
began = time.perf_counter()
count = len(load_train(config))
print(count / (time.perf_counter() - began))
"""
STARTING = """
import sys, time
from pathlib import Path
import torch
from ssl_dml.data import DataConfig, epochs, load_test, load_train, make_loader
place = {"source": sys.argv[1], "cache_dir": Path(sys.argv[2])}
config = DataConfig(**place, memory_fraction=0.0, batch_size=32)
began = time.perf_counter()
train = load_train(config)
load_test(config, train)
next(iter(make_loader(train, epochs(train, config, seed=0))))
print(time.perf_counter() - began)
"""


def input_table(
    *,
    folder: Path = Path("runs/input"),
    count: int = 300,
    size: tuple[int, int] = (4000, 3000),
    image_size: int = 224,
    before: Path | None = None,
    rounds: int = 3,
    known: Path | None = None,
) -> None:
    """Print at what rates images come in, and write ``input.json``.

    Args:
        folder: Where photographs are made, and the result goes.
        count: Number of photographs.
        size: Their width and height.
        image_size: Side of what they are decoded to.
        before: Another checkout of the project, to compare with; null for none.
        rounds: Measurements of each; medians are printed. Both sides take turns.
        known: A folder of at least 10,000 images, to start from twice; null for none.
    """
    photographs = folder / "photographs"
    make_photographs(photographs, count=count, size=size)
    found: dict[str, float] = {}
    store = partial(_storing, photographs, image_size)
    sides = {"stored": partial(store, Path(__file__).parents[2])}
    if before is not None:
        sides["stored_before"] = partial(store, before)
    found |= _in_turns(sides, rounds)
    found |= demand_rates(photographs, image_size, rounds=rounds, cache_dir=folder / "cache")
    if known is not None:
        found |= start_seconds(known, cache_dir=folder / "cache")
    (folder / "input.json").write_text(json.dumps(found, indent=2) + "\n")
    for name, value in found.items():
        print(f"{name:24} {value:10.2f}")


def demand_rates(
    source: Path, image_size: int, *, rounds: int, cache_dir: Path
) -> dict[str, float]:
    """Images a second through the loader, and through the decoder alone, on all cores.

    The share is the median of those of pairs of measurements, one right after the other, and the
    lowest and the highest are there too.

    Args:
        source: Folder of images.
        image_size: Side of what they are decoded to.
        rounds: Pairs of measurements.
        cache_dir: Where it is kept that they can be decoded.
    """
    config = DataConfig(
        source=str(source),
        cache_dir=cache_dir,
        image_size=image_size,
        memory_fraction=0.0,
        disk_fraction=0.0,
    )
    train = load_train(config)
    rows = torch.arange(len(train))
    sides = {"decoder": partial(_alone, train, rows), "on_demand": partial(_loaded, train, rows)}
    measured = _measured(sides, rounds)
    pairs = measured["on_demand"], measured["decoder"]
    shares = [own / bare for own, bare in zip(*pairs, strict=True)]
    found = {name: median(values) for name, values in measured.items()}
    spread = {"lowest_share": min(shares), "highest_share": max(shares)}
    return {**found, "on_demand_share": median(shares), **spread}


def start_seconds(source: Path, *, cache_dir: Path) -> dict[str, float]:
    """Seconds to the first batch of a folder, imports apart, the second time.

    Args:
        source: Folder of at least 10,000 images.
        cache_dir: Where the first time leaves what is known.

    Raises:
        ConfigError: If there are fewer.
    """
    first, again = (_output(STARTING, None, str(source), str(cache_dir)) for _ in range(2))
    if not list(cache_dir.glob("folder-*.npz")):
        raise ConfigError(f"known: fewer than {LEAST:,} images in {source}, or changed just now")
    return {"first_start_s": first, "start_s": again}


def _in_turns(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each side measures."""
    return {name: median(values) for name, values in _measured(sides, rounds).items()}


def _measured(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each side measures; the one that begins takes turns."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            measured[name].append(sides[name]())
    return measured


def _storing(source: Path, image_size: int, checkout: Path) -> float:
    """Images a second that are surveyed and stored by a process of a checkout."""
    with tempfile.TemporaryDirectory() as cache:
        return _output(STORING, checkout, str(source), cache, str(image_size))


def _output(script: str, checkout: Path | None, *args: str) -> float:
    """The number that a script prints last."""
    environment = dict(os.environ)
    if checkout is not None:
        environment["PYTHONPATH"] = str(checkout)
    command = [sys.executable, "-c", script, *args]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout.split()[-1])


def _alone(train: SampleSet, rows: Int[torch.Tensor, " rows"]) -> float:
    """Images a second that processes decode and throw away."""
    shares = np.array_split(rows.numpy(), cores())
    context = get_context("fork")
    processes = [context.Process(target=_decode, args=(train, share)) for share in shares]
    began = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return len(rows) / (time.perf_counter() - began)


def _decode(train: SampleSet, rows: Int[np.ndarray, " rows"]) -> None:
    torch.set_num_threads(1)
    for row in rows:
        train.samples[np.array([row])]


def _loaded(train: SampleSet, rows: Int[torch.Tensor, " rows"]) -> float:
    """Images a second that the loader brings in batches."""
    began = time.perf_counter()
    count = sum(len(batch) for batch, _ in make_loader(train, rows.split(BATCH)))
    return count / (time.perf_counter() - began)
