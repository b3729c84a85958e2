"""How often ``ssl_dml drift`` is wrong: false alarms, and what it finds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

import ssl_dml
from ssl_dml.data.images import is_image
from ssl_dml.evaluation.shift import shift
from ssl_dml.evaluation.sketch import read_sketch, rounded
from ssl_dml.files import write_json

CHANGES = {
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1.0)),
    "darker": lambda image: image.point(lambda value: int(0.6 * value)),
    "lighter": lambda image: image.point(lambda value: min(255, int(1.4 * value))),
}


def drift_table(
    *,
    run: Path,
    unseen: Path,
    new: Path | None = None,
    rows: int = 256,
    tests: int = 500,
    changed: int = 30,
    draws: int = 199,
    level: float = 0.01,
    output: Path | None = None,
) -> dict[str, Any]:
    """Print the fraction of tests that say images differ from the sketch of a run.

    Args:
        run: A run folder with a sketch.
        unseen: Folder of images like those of training, which the run has not seen.
        new: Folder of images of a new class, which make up a tenth of the rows.
        rows: New rows of a test.
        tests: Tests of unseen images.
        changed: Tests of blurred, darker, lighter images, and of those with the new class.
        draws: Draws of each test.
        level: Of each test.
        output: File of JSON to write.
    """
    model = ssl_dml.load(run)
    reference = read_sketch(run / "backbone").load().embeddings
    same, generator = _embedded(model, unseen), np.random.default_rng(0)

    def some(table: torch.Tensor, count: int) -> torch.Tensor:
        return table[torch.from_numpy(generator.permutation(len(table))[:count])]

    def told(count: int, table: torch.Tensor, others: torch.Tensor | None = None) -> float:
        share = 0 if others is None else min(rows // 10, len(others))
        alarms = 0
        for seed in range(count):
            drawn = some(table, rows - share)
            mixed = drawn if others is None else torch.cat([drawn, some(others, share)])
            alarms += shift(reference, mixed, draws=draws, seed=seed).p <= level
        return alarms / count

    found = {"unseen": told(tests, same)}
    found |= {name: told(changed, _embedded(model, unseen, name)) for name in CHANGES}
    if new is not None:
        found["new class"] = told(changed, same, _embedded(model, new))
    for name, share in found.items():
        print(f"{name:10} {share:.1%} of {tests if name == 'unseen' else changed} tests")
    if output is not None:
        write_json(output, found)
    return found


def _embedded(model: Any, folder: Path, change: str | None = None) -> torch.Tensor:  # noqa: ANN401
    paths = sorted(filter(is_image, folder.rglob("*")))
    images = [Image.open(path) for path in paths]
    shown = images if change is None else [CHANGES[change](image) for image in images]
    return rounded(torch.from_numpy(model.embed(shown)))
