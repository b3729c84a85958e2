"""One table of fine-tuning: what labels and pretraining are worth, for each head."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.methods import SCRIPTS, check_seeds, interval, launch
from ssl_dml.progress import progress

CONFIGS = SCRIPTS.parent / "configs"
RETRIEVAL = CONFIGS / "evaluate" / "retrieval.yaml"
Start = Literal["random", "pretrained"]
HEADS = ("arcface", "proxy_nca", "multi_similarity", "triplet")
FROM_RANDOM = {"proxy_nca": 1.0}  # learning rates where that of the recipe is not the best


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of the table.

    Args:
        config: Recipe of the head.
        start: What the network starts from.
        per_class: Labeled images of each class; None for all.
        seed: Seed of the run, and of the pretraining that it starts from.
    """

    config: Path
    start: Start
    per_class: int | None
    seed: int

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.config.stem}_{self.start}_{self.per_class or 'all'}_{self.seed}"


def finetune_table(
    *,
    heads: Sequence[Path] = tuple(CONFIGS / "finetune" / f"{name}.yaml" for name in HEADS),
    pretrain: Path = CONFIGS / "pretrain" / "hangul.yaml",
    per_class: Sequence[int | None] = (2, 4, None),
    seeds: int = 3,
    jobs: int | None = None,
    folder: Path = Path("runs/finetune"),
) -> None:
    """Fine-tune every head from random weights and from pretraining, and print recall@1 on test.

    The test classes are in no training; each test image searches among the others. Weights are
    those of the last step. Nothing is held out of training, as recipes were chosen before; the
    rate of each start was the best on held-out training classes.
    Finished runs below ``folder`` are read, not made again.

    Args:
        heads: Recipes, all on the same data.
        pretrain: Recipe whose backbone the pretrained ones start from.
        per_class: Labeled images of a class; null for all.
        seeds: Seeds 0, 1, ... of each.
        jobs: Runs at a time, of one thread each; null for as many as there are cores.
        folder: Where the run folders go, and ``table.md``.

    Raises:
        ValueError: If there are too few or too many seeds for an interval.
        OSError: If a run fails.
    """
    check_seeds(seeds)
    folder.mkdir(parents=True, exist_ok=True)
    trials = [
        Trial(config=config, start=start, per_class=count, seed=seed)
        for seed in range(seeds)
        for config in heads
        for count in per_class
        for start in ("random", "pretrained")
    ]
    jobs = jobs or os.cpu_count() or 1
    starts = range(seeds)
    with (
        ThreadPoolExecutor(jobs) as pool,
        progress(len(trials) + seeds, "fine-tuning", "runs") as bar,
    ):
        alone: list[dict[str, float]] = []
        for found in pool.map(lambda seed: _pretrained(pretrain, folder, seed), starts):
            alone.append(found)
            bar.update()
        scores: dict[Trial, float] = {}
        for trial, found in zip(trials, pool.map(lambda t: _run(t, folder), trials), strict=True):
            scores[trial] = found
            bar.update()
            bar.write(f"{trial.name}: recall@1 {100 * found:.2f}")
    text = "\n".join(_lines(heads, per_class, seeds, alone, scores))
    (folder / "table.md").write_text(text + "\n")
    print(text)


def _pretrained(config: Path, folder: Path, seed: int) -> dict[str, float]:
    """Recall@1 on test of the encoder before and after pretraining alone."""
    run, first = folder / f"pretrained_{seed}", folder / f"untrained_{seed}"
    flags = (f"--seed={seed}", "--train.threads=1", "--resume=true")
    for place, more in ((run, ()), (first, ("--train.steps=1", "--optimizer.init_args.lr=0.0"))):
        if not (place / "backbone").exists():
            launch("pretrain.py", f"--config={config}", f"--output_dir={place}", *flags, *more)
    return {"pretrained": _recall(run), "untrained": _recall(first)}


def _run(trial: Trial, folder: Path) -> float:
    run = folder / trial.name
    if not (run / "backbone").exists():
        flags = [
            f"--config={trial.config}",
            f"--output_dir={run}",
            f"--seed={trial.seed}",
            f"--labels.per_class={trial.per_class or 'null'}",
            "--validation.fraction=null",
            "--train.threads=1",
            "--resume=true",
        ]
        if trial.start == "random" and trial.config.stem in FROM_RANDOM:
            flags.append(f"--optimizer.init_args.lr={FROM_RANDOM[trial.config.stem]}")
        if trial.start == "pretrained":
            flags.append(f"--init={folder / f'pretrained_{trial.seed}' / 'backbone'}")
        launch("finetune.py", *flags)
    return _recall(run)


def _recall(run: Path) -> float:
    path = run / "retrieval.json"
    if not path.exists():
        launch("evaluate.py", f"--config={RETRIEVAL}", f"--run={run}")
    return json.loads(path.read_text())["recall_at_1"]


def _lines(
    heads: Sequence[Path],
    per_class: Sequence[int | None],
    seeds: int,
    alone: list[dict[str, float]],
    scores: dict[Trial, float],
) -> list[str]:
    """The table in Markdown."""
    counts = [f"{count} a class" if count else "all labels" for count in per_class]
    lines = [
        f"recall@1 on unseen classes, {seeds} seeds, last step; mean and 95% interval",
        "",
        f"| head | start | {' | '.join(counts)} |",
        f"|---|---|{'---|' * len(counts)}",
    ]
    for name in ("untrained", "pretrained"):
        words = {"untrained": "random encoder", "pretrained": "pretrained only"}[name]
        empty = " |" * len(counts)
        lines.append(f"| none | {words}: {interval([found[name] for found in alone])} |{empty}")
    for config in heads:
        for start in ("random", "pretrained"):
            cells = [
                interval(
                    [
                        scores[Trial(config=config, start=start, per_class=count, seed=seed)]
                        for seed in range(seeds)
                    ]
                )
                for count in per_class
            ]
            lines.append(f"| `{config.stem}` | {start} | {' | '.join(cells)} |")
    return lines
