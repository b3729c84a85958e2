"""Queries and their neighbors as a page that needs no other file and no network."""

import base64
from collections.abc import Sequence
from html import escape

from ssl_dml.commands.search_query import Hit, Query
from ssl_dml.data.images import is_image
from ssl_dml.data.originals import open_sample
from ssl_dml.index.index import Index
from ssl_dml.index.thumbnails import SIDE, jpeg

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #777; }
@media (prefers-color-scheme: dark) { :root { --soft: #aaa; } }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1240px;
  padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; }
p { color: var(--soft); margin: .2rem 0 1.2rem; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); display: flex; gap: 1rem; padding: 1rem 0;
  break-inside: avoid; }
ol { display: grid; flex: 1; gap: .8rem; grid-template-columns: repeat(auto-fill, 104px);
  list-style: none; margin: 0; min-width: 0; padding: 0; }
figure { margin: 0; width: 104px; }
section > figure { flex: none; border-right: 1px solid var(--line); padding-right: 1rem; }
.image { align-items: center; display: flex; height: 96px; }
.image.none { border: 1px dashed var(--line); color: var(--soft); font-size: .8rem;
  justify-content: center; }
img { display: block; outline: 1px solid var(--line); max-height: 96px; max-width: 96px; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
figcaption b, figcaption span { display: block; }
figcaption span { color: var(--soft); }
@media (max-width: 600px) { section { flex-direction: column; }
  section > figure { border: 0; padding: 0; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def sheet(queries: Sequence[Query], index: Index) -> str:
    """The page as HTML; what files and classes are called is text in it, whatever they say."""
    info, weights = index.info, str(index.info.table.weights.get("path"))
    sections = "\n".join(_section(query, index) for query in queries)
    count = "1 query" if len(queries) == 1 else f"{len(queries):,} queries"
    about = f"{info.rows:,} samples in {index.folder}, embedded by {weights}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nearest samples</title><style>{STYLE}</style></head>
<body><h1>Nearest samples of {count}</h1>
<p>{escape(about)}</p>
{sections}
</body></html>
"""


def _section(query: Query, index: Index) -> str:
    hits = "\n".join(f"<li>{_hit(hit, index)}</li>" for hit in query.hits)
    shown = _figure(_of_query(query), "query", str(query.path))
    return f"<section>{shown}\n<ol>{hits}</ol></section>"


def _hit(hit: Hit, index: Index) -> str:
    title = f"{hit.score:.3f}" + (f" {hit.class_name}" if hit.class_name else "")
    return _figure(index.thumbnail(hit.id), title, hit.path)


def _figure(image: bytes, title: str, path: str) -> str:
    """An image above two lines; where a pointer rests, all of a path shows."""
    name = "/".join(path.split("/")[-2:])
    source = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
    shown = f'<img src="{source}" alt="">' if image else "no thumbnail"
    return (
        f'<figure title="{escape(path)}"><div class="image{"" if image else " none"}">{shown}</div>'
        f"<figcaption><b>{escape(title)}</b><span>{escape(name)}</span></figcaption></figure>"
    )


def _of_query(query: Query) -> bytes:
    if not is_image(query.path):
        return b""
    path = query.path.resolve()
    return jpeg(open_sample({"source": path.parent}, path.name), SIDE)
