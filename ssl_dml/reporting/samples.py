"""The part of a report that needs embedded samples, of one run and of several beside each other."""

import torch

from ssl_dml.evaluation import paired_gain
from ssl_dml.evaluation.look import Look
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.sections import (
    Shown,
    add_confusions,
    add_hubs,
    add_map,
    add_neighbors,
    add_sheet,
    add_similarities,
)

PIXELS = 9_000_000  # of all sheets of thumbnails together
LARGEST, SMALLEST = 64, 16  # pixels of a thumbnail on a sheet
Found = tuple[Shown, Look]


def add_sheets(page: Page, found: dict[str, Found | str]) -> dict[str, tuple[str, int]]:
    """Add the sheets of thumbnails, equal ones once; anchor and side of each run's."""
    shown = {name: one[0] for name, one in found.items() if not isinstance(one, str)}
    sheets = dict[tuple[str, ...], tuple[str, int]]()
    keys = {name: tuple(map(one.name, range(len(one.images)))) for name, one in shown.items()}
    total = sum(map(len, {*keys.values()})) or 1
    side = int(max(SMALLEST, min(LARGEST, (PIXELS / total) ** 0.5)))
    for name, one in shown.items():
        if keys[name] not in sheets:
            sheets[keys[name]] = f"sheet-{len(sheets)}", side
            add_sheet(page, sheets[keys[name]][0], one.images, side)
    return {name: sheets[key] for name, key in keys.items()}


def add_comparison(page: Page, found: dict[str, Found | str]) -> None:
    """Measures of the embedded samples, with intervals; differences where samples are the same."""
    kept = {name: one for name, one in found.items() if not isinstance(one, str)}
    if not kept:
        return
    page.section("Measured for this report")
    page.text("Each of the samples below is classified by the others, left out in turn.")
    first = next(iter(kept.values()))
    rows = list[list[str]]()
    for name, (shown, seen) in kept.items():
        row = [name, shown.words]
        if (told := seen.supervised) is not None:
            low, high = told.accuracy.low, told.accuracy.high
            row += [f"{told.accuracy.mean:.1%}", f"{low:.1%} to {high:.1%}"]
            row += ["" if told.pairs is None else f"{told.pairs.auc():.4f}"]
        else:
            row += ["", "", ""]
        row += [f"{seen.health['rankme']:.1f}", f"{seen.near.skewness:.2f}"]
        difference = [_difference(first, (shown, seen))] if len(kept) > 1 else []
        rows.append([*row, *difference])
    columns = ["run", "samples", "kNN", "95% interval", "ROC area", "RankMe", "hub skewness"]
    page.table([*columns, *(["kNN beside the first"] if len(kept) > 1 else [])], rows)


def _difference(first: Found, other: Found) -> str:
    """Gain of a run's kNN over the first run's with its interval; empty if it cannot be said."""
    (shown, seen), (mine, own) = first, other
    if seen.supervised is None or own.supervised is None or seen is own:
        return ""
    if list(shown.table.names or ()) != list(mine.table.names or ()) or not torch.equal(
        seen.supervised.rows, own.supervised.rows
    ):
        return "other samples"
    gain = paired_gain(seen.supervised.right, own.supervised.right)
    return f"{gain.mean:+.1%} ({gain.low:+.1%} to {gain.high:+.1%})"


def add_embeddings(page: Page, one: Found | str, sheet: tuple[str, int] | None, seed: int) -> None:
    """Add all parts that need embeddings, or why they are left out."""
    if isinstance(one, str) or sheet is None:
        page.section("Embeddings")
        page.note(f"map, neighbors, hubs and similarities are left out: {one}")
        return
    shown, seen = one
    page.section("Embeddings")
    page.text(f"{shown.words}, drawn at random with seed {seed}.")
    for note in [*shown.notes, *seen.notes]:
        page.note(note)
    add_map(page, shown, seen, *sheet)
    add_neighbors(page, shown, seen, seed)
    if seen.supervised is not None:
        add_confusions(page, shown, seen.supervised)
    add_hubs(page, shown, seen)
    if seen.supervised is not None:
        add_similarities(page, seen.supervised)
