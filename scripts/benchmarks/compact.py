"""What an eighth of the dimensions costs, trained to be used alone or not."""

import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image

from benchmarks.domains import PROGRAM, SIDE, USR
from benchmarks.methods import SCRIPTS, check_seeds, interval, launch
from ssl_dml.progress import progress

CONFIGS = SCRIPTS.parent / "configs"
PAPIRUS = "icons/Papirus/64x64/apps"
DRAWINGS = 12
Set = Literal["hangul", "icons"]
Way = Literal["plain", "nested", "ordered"]
STEPS = {"hangul": 500, "icons": 700}
SMALL = (
    *("--validation.fraction=null", "--data.image_size=20", "--data.batch_size=128"),
    *("--optimizer.init_args.lr=0.15", "--train.threads=1", "--embedding_dim=128"),
)
OWN = {"hangul": (), "icons": ("--head.init_args.margin.init_args.margin=0.15",)}
NESTED = "--nested=[16,32,64,128]"
WAYS = {"plain": (), "nested": (NESTED,), "ordered": ("--ordered=true",)}
FORMS = {
    "whole": "prefix_128_float32",
    "first eighth": "prefix_16_float32",
    "components": "pca_16_float32",
    "int8": "prefix_128_int8",
    "bits": "prefix_128_bit",
    "bits, rescored": "prefix_128_bit_rescored",
}


def nested_table(
    *,
    sets: Sequence[Set] = ("hangul", "icons"),
    ways: Sequence[Way] = ("plain", "nested", "ordered"),
    seeds: int = 3,
    choose: bool = False,
    folder: Path = Path("runs/compact"),
) -> None:
    """Fine-tune ArcFace, print recall@1 by form: as it is, with nested prefixes, ordered.

    Test classes are in no training, and weights are those of the last step. Icons are applications
    of Debian's papirus-icon-theme, 400 to train on and 200 others to test, each drawn 12 times at
    64 pixels: turned, scaled and dimmed on any ground. Finished runs are read, not made again.

    Args:
        sets: Images.
        ways: What is done for prefixes: nothing, training, or a turn in the end.
        seeds: Seeds 0, 1, ... of each.
        choose: Test icons of 120 of the training classes, which are then not trained on.
        folder: Where the run folders and the images go, and ``table.md``.

    Raises:
        ValueError: If there are too few seeds for an interval, or icons cannot be drawn.
        OSError: If a run fails.
    """
    check_seeds(seeds)
    images = folder / ("chosen" if choose else "drawn")
    if "icons" in sets:
        draw(images, choose=choose)
    trials: list[tuple[Set, Way, int]] = [
        (one, way, seed) for seed in range(seeds) for one in sets for way in ways
    ]
    found: dict[tuple[Set, Way], list[dict[str, float]]] = {}
    with progress(len(trials), "fine-tuning", "runs") as bar:
        for one, way, seed in trials:
            run = folder / f"{one}_{way}_{seed}{'_choose' * choose}"
            source = str(images) if one == "icons" else "hangul"
            found.setdefault((one, way), []).append(_measured(run, source, one, way, seed))
            bar.update()
    text = "\n".join(_lines(found))
    (folder / "table.md").write_text(text + "\n")
    print(text)


def draw(folder: Path, *, choose: bool = False, train: int = 400, test: int = 200) -> None:
    """Write ``train/ICON/N.png`` and ``test/ICON/N.png`` of disjoint icons, unless they are there.

    Args:
        folder: Where to write.
        choose: Test on three in ten of those to train on instead.
        train: Number of icons to train on.
        test: Number of icons to test on.

    Raises:
        ValueError: If the theme or the program that draws it is not installed.
    """
    if folder.exists():
        return
    files = sorted(path for path in (USR / PAPIRUS).glob("*.svg") if not path.is_symlink())
    if shutil.which(PROGRAM) is None or not files:
        raise ValueError("not installed; try: apt-get install librsvg2-bin papirus-icon-theme")
    random.Random(0).shuffle(files)
    seen: dict[bytes, tuple[str, Image.Image]] = {}
    for path in files:
        size = ("--width", str(SIDE), "--height", str(SIDE), "--keep-aspect-ratio")
        content = subprocess.run([PROGRAM, *size, path], capture_output=True, check=True).stdout
        icon = Image.open(BytesIO(content)).convert("RGBA")
        seen.setdefault(icon.tobytes(), (path.stem, icon))
        if len(seen) == train + test:
            break
    names = [name for name, _ in seen.values()]
    tested, trained = names[:test], sorted(names[test:])
    if choose:
        random.Random(5).shuffle(trained)
        held = round(0.3 * len(trained))
        tested, trained = trained[:held], trained[held:]
    beside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for name, icon in seen.values():
        if name in tested or name in trained:
            _drawn(icon, name, beside / ("test" if name in tested else "train") / name)
    beside.rename(folder)


def _drawn(icon: Image.Image, name: str, folder: Path) -> None:
    """An icon on grounds of any color, turned, scaled and dimmed."""
    folder.mkdir(parents=True)
    rng = random.Random(name)
    for number in range(DRAWINGS):
        ground = tuple(rng.randrange(256) for _ in range(3))
        image = Image.new("RGBA", (SIDE, SIDE), (*ground, 255))
        side = round(SIDE * rng.uniform(0.55, 1))
        turned = icon.rotate(rng.uniform(-25, 25), Image.Resampling.BICUBIC)
        place = rng.randint(0, SIDE - side), rng.randint(0, SIDE - side)
        image.alpha_composite(turned.resize((side, side), Image.Resampling.BICUBIC), place)
        light = rng.uniform(0.5, 1.0)
        table = [int(value * light) for value in range(256)] * 3
        image.convert("RGB").point(table).save(folder / f"{number}.png")


def _measured(run: Path, source: str, one: Set, way: Way, seed: int) -> dict[str, float]:
    """Recall@1 of each form on the test classes."""
    if not (run / "backbone").exists():
        launch(
            "finetune.py",
            f"--config={CONFIGS / 'finetune' / 'arcface.yaml'}",
            f"--data.source={source}",
            f"--train.steps={STEPS[one]}",
            f"--seed={seed}",
            f"--output_dir={run}",
            "--resume=true",
            *(*SMALL, *OWN[one], *WAYS[way]),
        )
    if not (run / "compact.json").exists():
        config = CONFIGS / "evaluate" / "compact.yaml"
        launch("evaluate.py", f"--config={config}", f"--run={run}", "--compact.dims=[16]")
    results = json.loads((run / "compact.json").read_text())
    return {name: results[f"{form}_recall_at_1"] for name, form in FORMS.items()}


def _lines(found: dict[tuple[Set, Way], list[dict[str, float]]]) -> list[str]:
    """The table in Markdown; the cost is of the first eighth, paired by run."""
    names = [*FORMS, "cost of the eighth"]
    lines = [f"| images | prefixes | {' | '.join(names)} |", f"|{'---|' * (len(names) + 2)}"]
    for (one, way), rows in found.items():
        cells = [interval([row[name] for row in rows]) for name in FORMS]
        cells.append(interval([row["whole"] - row["first eighth"] for row in rows]))
        lines.append(f"| {one} | {way} | {' | '.join(cells)} |")
    return lines
