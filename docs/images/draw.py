"""Draw the figures of the documentation, each for light and dark pages.

``python docs/images/draw.py`` writes them beside this file.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Literal, final

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', monospace"
PAPER = {
    "light": {
        "text": "#1f2937", "muted": "#57606a", "line": "#8b949e",
        "fill": "#eef2ff", "edge": "#4f46e5", "warm": "#ffedd5", "hot": "#c2410c",
        "none": "#f3f4f6",
    },
    "dark": {
        "text": "#e6edf3", "muted": "#a3adb8", "line": "#7d8590",
        "fill": "#23264a", "edge": "#a5b4fc", "warm": "#4a2a12", "hot": "#fdba74",
        "none": "#22272e",
    },
}  # fmt: skip
Anchor = Literal["start", "middle", "end"]


@final
@dataclass
class Sheet:
    """An SVG that grows by calls; colors are names of the paper's."""

    width: int
    height: int
    title: str
    paper: dict[str, str]
    parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, w: float, h: float, *, fill: str = "fill", edge: str = "edge",
            radius: float = 8, thick: float = 1.5) -> None:  # fmt: skip
        """A rectangle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" '
            f'fill="{self.paper[fill]}" stroke="{self.paper[edge]}" stroke-width="{thick}"/>'
        )

    def text(self, x: float, y: float, words: str, *, size: float = 14,
             color: str = "text", anchor: Anchor = "middle", bold: bool = False,
             mono: bool = False) -> None:  # fmt: skip
        """One line of text."""
        weight = ' font-weight="600"' if bold else ""
        family = f' font-family="{MONO}"' if mono else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{self.paper[color]}" '
            f'text-anchor="{anchor}"{weight}{family}>{escape(words)}</text>'
        )

    def line(self, points: str, *, color: str = "line", arrow: bool = False, thick: float = 1.8,
             dashed: bool = False) -> None:  # fmt: skip
        """A path, with an arrow's head at its end if wanted."""
        end = ' marker-end="url(#head)"' if arrow else ""
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(
            f'<path d="{points}" fill="none" stroke="{self.paper[color]}" '
            f'stroke-width="{thick}"{end}{dash}/>'
        )

    def svg(self) -> str:
        """The whole file."""
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{self.paper["line"]}"/></marker></defs>'
        )
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" font-family="{FONT}">\n'
            f"<title>{escape(self.title)}</title>\n{head}\n{body}\n</svg>\n"
        )


def journey(sheet: Sheet) -> None:
    """From a folder to a search, in five boxes."""
    steps = [
        ("Data", ["images or audio", "labels optional"], "--data.source ~/images"),
        ("Pretrain", ["SimCLR, MoCo, NPID:", "no labels needed"], "ssl_dml pretrain"),
        ("Probe", ["kNN, linear probe", "on frozen features"], "ssl_dml evaluate"),
        ("Fine-tune", ["ArcFace, triplet,", "proxies: few labels"], "ssl_dml finetune"),
        ("Search", ["retrieval by", "embedding, verify"], "model.embed(paths)"),
    ]
    width, gap = 172, 30
    for number, (name, lines, command) in enumerate(steps):
        x = 4 + number * (width + gap)
        sheet.box(x, 6, width, 128)
        middle = x + width / 2
        sheet.text(middle, 38, name, size=20, bold=True)
        for row, words in enumerate(lines):
            sheet.text(middle, 64 + 19 * row, words, size=14, color="muted")
        sheet.text(middle, 117, command, size=12, color="edge", mono=True)
        if number:
            sheet.line(f"M{x - gap + 3} 70 H{x - 4}", arrow=True)


def triplets(sheet: Sheet) -> None:
    """Rank ranges: the negatives of one anchor, and what two of its positives take of them."""
    near, step, top = 150, 62, 96
    order = [7, 2, 9, 4, 11, 5, 8, 3]
    sheet.text(20, 34, "one anchor a", size=16, bold=True, anchor="start")
    sheet.text(150, 34, "its negatives, sorted from near to far", color="muted", anchor="start")
    sheet.text(130, top + 26, "order[a]", mono=True, anchor="end")
    sheet.text(130, top - 14, "rank k", color="muted", anchor="end")
    for rank, row in enumerate(order):
        x = near + rank * step
        sheet.text(x + step / 2 - 3, top - 14, str(rank), color="muted")
        sheet.box(x, top, step - 6, 40, fill="none", edge="line")
        sheet.text(x + step / 2 - 3, top + 26, f"row {row}", size=13, mono=True)
    ranges = [("positive p", 1, 4, "fill", "edge"), ("positive q", 3, 7, "warm", "hot")]
    for number, (name, low, high, fill, edge) in reversed([*enumerate(ranges)]):  # lines behind
        y = top + 66 + number * 62
        x, end = near + low * step, near + high * step - 6
        sheet.box(x, y, end - x, 34, fill=fill, edge=edge)
        count = high - low
        sheet.text((x + end) / 2, y + 22, f"low {low}, high {high}: {count} triplets", size=13)
        sheet.text(130, y + 22, name, anchor="end", color=edge, bold=True)
        sheet.line(f"M{x} {top + 42} V{y}", color=edge, dashed=True, thick=1.2)
        sheet.line(f"M{end} {top + 42} V{y}", color=edge, dashed=True, thick=1.2)
    sheet.text(20, 296, "low: the first negative farther than the positive (semi-hard)", size=13,
               anchor="start", color="muted")  # fmt: skip
    sheet.text(20, 318, "high: the first one beyond the margin", size=13,
               anchor="start", color="muted")  # fmt: skip
    sheet.text(20, 340, "Two numbers a pair say which triplets count, so the cube of the batch "
               "is never listed.", size=13, anchor="start")  # fmt: skip


def ring(sheet: Sheet) -> None:
    """Four processes: blocks of keys go round, tiles are summed and forgotten."""
    side, left, top = 58, 380, 64
    turns = ["fill", "warm", "none", "none"]
    edges = ["edge", "hot", "line", "line"]
    sheet.text(left + 2 * side, 24, "keys of process", color="muted")
    sheet.text(left - 22, top - 14, "queries", color="muted", anchor="end")
    for row in range(4):
        sheet.text(left + row * side + side / 2 - 3, top - 14, str(row), color="muted")
        sheet.text(left - 14, top + row * side + 33, f"process {row}", anchor="end", size=13)
        for column in range(4):
            turn = (row - column) % 4
            x, y = left + column * side, top + row * side
            fill = turns[turn]
            sheet.box(x, y, side - 6, side - 6, fill=fill, edge=edges[turn], radius=5)
            sheet.text(x + side / 2 - 3, y + 32, str(turn), size=17, bold=fill != "none")
    sheet.text(left + 2 * side, top + 4 * side + 20, "number: the turn in which a process",
               size=13, color="muted")  # fmt: skip
    sheet.text(left + 2 * side, top + 4 * side + 38, "sees that block of the matrix", size=13,
               color="muted")  # fmt: skip
    places = [(110, 70), (204, 164), (110, 258), (16, 164)]
    for number, (x, y) in enumerate(places):
        sheet.box(x - 4, y - 22, 66, 44)
        sheet.text(x + 29, y + 5, f"proc. {number}", size=13, bold=True)
    for path in ("M178 74 Q 232 84 236 138", "M236 190 Q 232 246 178 256",
                 "M104 256 Q 48 246 44 190", "M44 138 Q 48 84 104 74"):  # fmt: skip
        sheet.line(path, arrow=True)
    sheet.text(140, 158, "keys move", size=13, color="muted")
    sheet.text(140, 177, "queries stay", size=13, color="muted")
    sheet.text(140, 320, "one block at a time, cut in", size=13, color="muted")
    sheet.text(140, 338, "tiles of 1,024 x 1,024", size=13, color="muted")


def partial_fc(sheet: Sheet) -> None:
    """What happens to a class weight in the one step that samples it."""
    sheet.text(84, 30, "class weights", size=15, bold=True)
    sheet.text(84, 50, "and optimizer state", size=12.5, color="muted")
    sampled = {1: "fill", 4: "fill", 6: "fill"}
    for row in range(8):
        y = 64 + row * 30
        own = row in sampled
        sheet.box(20, y, 84, 24, fill="fill" if own else "none", edge="edge" if own else "line",
                  radius=4)  # fmt: skip
        sheet.box(110, y, 38, 24, fill="warm" if own else "none", edge="hot" if own else "line",
                  radius=4)  # fmt: skip
        sheet.text(62, y + 17, f"class {row}", size=12, color="text" if own else "muted")
        sheet.text(129, y + 17, "m", size=12, color="text" if own else "muted")
    steps = [
        ("1  sample", "a function of seed and", "step; the batch's own", "classes are added"),
        ("2  gather", "copy the sampled rows;", "logits and gradient", "exist for these only"),
        ("3  update", "the optimizer gets rows", "and their state m as", "one small parameter"),
        ("4  store", "rows and state go back", "to their places; the", "parameter is emptied"),
    ]
    for number, (name, *lines) in enumerate(steps):
        x = 200 + number * 188
        sheet.box(x, 78, 168, 122)
        sheet.text(x + 84, 104, name, size=16, bold=True)
        for row, words in enumerate(lines):
            sheet.text(x + 84, 130 + row * 20, words, size=13, color="muted")
        if number:
            sheet.line(f"M{x - 18} 139 H{x - 3}", arrow=True)
    sheet.line("M154 139 H196", arrow=True)
    sheet.line("M848 204 V252 H156", arrow=True)
    sheet.text(504, 244, "back into the table", size=13, color="muted")
    sheet.text(200, 290, "A row that is not sampled has no logit and no gradient, and neither "
               "momentum nor weight decay moves it.", size=13.5, anchor="start")  # fmt: skip


FIGURES: dict[str, tuple[Callable[[Sheet], None], int, int, str]] = {
    "journey": (journey, 988, 140, "Data, pretrain, probe, fine-tune, embed and search"),
    "triplets": (triplets, 670, 352, "Triplets as ranges of ranked negatives"),
    "ring": (ring, 630, 350, "A ring of processes, and the similarity matrix in blocks"),
    "partial_fc": (partial_fc, 960, 310, "The life of a sampled class weight in one step"),
}


def drawings() -> dict[str, str]:
    """Every file by its name."""
    found = {}
    for name, (draw, width, height, title) in FIGURES.items():
        for scheme, paper in PAPER.items():
            sheet = Sheet(width, height, title, paper)
            draw(sheet)
            found[f"{name}-{scheme}.svg"] = sheet.svg()
    return found


if __name__ == "__main__":
    for name, svg in drawings().items():
        (Path(__file__).parent / name).write_text(svg)
