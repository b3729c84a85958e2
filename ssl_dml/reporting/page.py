"""A report as one file of HTML that needs nothing else and runs nothing but its own script."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

from ssl_dml.files import as_json


@dataclass
class Page:
    """Parts of a page in order; all text that is given to it is escaped.

    Args:
        title: Its heading.
        subtitle: Below it.
        program: Name of its script, of those that come with the package.
    """

    title: str
    subtitle: str
    parts: list[str] = field(default_factory=list)
    contents: list[tuple[str, str]] = field(default_factory=list)
    program: str = "map.js"

    def chapter(self, title: str) -> None:
        """Begin a part that the contents list."""
        anchor = f"part-{len(self.contents)}"
        self.contents.append((anchor, title))
        self.parts.append(f'<h2 id="{anchor}">{escape(title)}</h2>')

    def section(self, title: str) -> None:
        """Begin a part of a chapter."""
        self.parts.append(f"<h3>{escape(title)}</h3>")

    def text(self, words: str) -> None:
        """Add a paragraph."""
        self.parts.append(f"<p>{escape(words)}</p>")

    def note(self, words: str) -> None:
        """Add a paragraph on what is left out."""
        self.parts.append(f'<p class="note">{escape(words)}</p>')

    def raw(self, html: str) -> None:
        """Add what is HTML already, in which the text of others is escaped."""
        self.parts.append(html)

    def pairs(self, values: Mapping[str, object]) -> None:
        """Add a table of names and values."""
        rows = (
            f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
            for name, value in values.items()
        )
        self.parts.append(f'<table class="pairs">{"".join(rows)}</table>')

    def table(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table with a header; cells that begin with a digit or sign are set as numbers."""
        header = "".join(f"<th scope=col>{escape(name)}</th>" for name in names)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self.parts.append(f'<div class="scroll"><table><tr>{header}</tr>{body}</table></div>')

    def charts(self, drawn: Sequence[str]) -> None:
        """Add charts side by side."""
        self.parts.append(f'<div class="charts">{"".join(drawn)}</div>')

    def details(self, summary: str, text: str) -> None:
        """Add a long text that opens on a click, and in print."""
        self.parts.append(
            f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
        )

    def html(self, footer: str) -> str:
        """The whole page; a policy lets it run its own style and script and load nothing."""
        folder = files("ssl_dml.reporting") / "html"
        style, script, page = (
            (folder / name).read_text(encoding="utf-8")
            for name in ("page.css", self.program, "page.html")
        )
        links = (f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in self.contents)
        whole = Template(page).substitute(
            title=escape(self.title),
            subtitle=escape(self.subtitle),
            contents=" ".join(links),
            body="\n".join(self.parts),
            footer=escape(footer),
            style=style,
            script=script,
            style_hash=_digest(style),
            script_hash=_digest(script),
        )
        return whole.encode(errors="replace").decode()  # names of files need not be text


def data_script(values: object) -> str:
    r"""Values for the page's script, in which no text can end the element that holds them.

    >>> data_script({"a": "</script>"})
    '<script type="application/json">{"a": "\\u003c/script>"}</script>'
    """
    text = as_json(values).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _cell(words: str) -> str:
    numeric = ' class="number"' if re.match(r"[-+−]?[\d.]", words) else ""
    return f"<td{numeric}>{escape(words)}</td>"
