"""The page and what it asks for: about the index, embeddings of images, results, thumbnails."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ssl_dml.index.index import Index, Row
from ssl_dml.reading import parse_json
from ssl_dml.serve.guard import Access, Guard
from ssl_dml.serve.query import MOST_TERMS, Query, answer, parse_query
from ssl_dml.serve.uploads import MAX_BYTES, Embed, embedded, read_body
from ssl_dml.serve.work import BusyError, Workers
from ssl_dml.threshold_file import NO_LIMITS, Limits

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MOST_JSON = 1 << 21  # bytes of a question: 32 embeddings of 8,192 numbers
MOST_LISTED = 5000  # classes or folders that the page offers
THREADS, WAITING = 2, 96
PNG = b"\x89PNG"


@final
@dataclass(frozen=True, kw_only=True)
class Site:
    """What is shown.

    Args:
        name: Of the index.
        index: What is searched.
        embed: From an image to its embedding, by the model of the index; may be called from
            several threads.
        limits: What matches must reach.
    """

    name: str
    index: Index
    embed: Embed
    limits: Limits = NO_LIMITS


def build_app(site: Site, access: Access, workers: Workers | None = None) -> ASGIApp:
    """The application, behind its guard.

    Args:
        site: What is shown.
        access: Who may ask.
        workers: The threads that work; None for two, and at most 96 requests at once.
    """
    handlers = _Handlers(site, workers or Workers(THREADS, WAITING))
    names = {"" if path.name == "index.html" else path.name: path for path in PAGE.iterdir()}
    app = Starlette(
        routes=[
            *(Route(f"/{name}", _file(path)) for name, path in names.items()),
            Route("/api/index", handlers.about),
            Route("/api/embed", handlers.embed, methods=["POST"]),
            Route("/api/search", handlers.search, methods=["POST"]),
            Route("/thumbnail/{id:int}", handlers.thumbnail),
        ],
        exception_handlers={
            HTTPException: _told,
            BusyError: _busy,
            ClientDisconnect: _gone,
            ValueError: _wrong,
            Exception: _failed,
        },
    )
    return Guard(app, access)


@final
class _Handlers:
    def __init__(self, site: Site, workers: Workers) -> None:
        self.site, self.workers = site, workers
        self.dim, self.live = site.index.info.table.dim, site.index.where()
        self.root, folders = _split(site.index)
        self.about_index = _described(site, self.root, folders)

    async def about(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(self.about_index)

    async def embed(self, request: Request) -> Response:
        with self.workers.place():
            body = await read_body(request, MAX_BYTES)
            return JSONResponse(await self.workers.run(embedded, body, self.site.embed))

    async def search(self, request: Request) -> Response:
        with self.workers.place():
            values = parse_json(await read_body(request, MOST_JSON))
            query = parse_query(values, self.dim, self._has)
            return JSONResponse(await self.workers.run(self._search, query))

    def _has(self, row: int) -> bool:
        return 0 <= row < len(self.live) and bool(self.live[row])

    def _search(self, query: Query) -> dict[str, Any]:
        site = self.site
        found = answer(site.index, query)
        rows = site.index.rows(found.ids)
        scores = found.scores or [None] * len(rows)
        # Limits were calibrated for pairs of images, and say nothing of a mean.
        limits = site.limits if len(query.like) == 1 and not query.unlike else NO_LIMITS
        return {
            "rows": [
                {
                    "id": row.id,
                    "name": row.path.removeprefix(self.root),
                    "class": _class_of(row),
                    "score": score,
                }
                for row, score in zip(rows, scores, strict=True)
            ],
            "threshold": limits.same,
            "refusal": limits.refusal(max(found.scores or [], default=None)),
        }

    async def thumbnail(self, request: Request) -> Response:
        row = request.path_params["id"]
        if not self._has(row):
            raise HTTPException(404, "The index has no such row.")
        data = await self.workers.run(self.site.index.thumbnail, row)
        if not data:
            raise HTTPException(404, "There is no thumbnail of this row.")
        kind = "image/png" if data.startswith(PNG) else "image/jpeg"
        return _cached(request, data, kind, "private, max-age=300")


def _split(index: Index) -> tuple[str, list[str]]:
    """What the paths of all rows begin with, "" or with a slash, and the folders that divide them.

    Folders come in order, so those that hold all rows come first.
    """
    root, folders = "", index.folders()
    while folders and index.where(folder=folders[0]).sum() == index.info.rows:
        root = f"{folders.pop(0)}/"
    return root, folders


def _described(site: Site, root: str, folders: list[str]) -> dict[str, Any]:
    """What the page shows of the index before anything is asked; a value and a text of each choice.

    Args:
        site: What is shown.
        root: What the paths of all rows begin with.
        folders: Folders to choose from.
    """
    labels = [label for label in site.index.labels() if label >= 0]
    names = site.index.info.table.class_names or ()
    return {
        "name": site.name,
        "rows": site.index.info.rows,
        "classes": [[i, names[i] if i < len(names) else str(i)] for i in labels[:MOST_LISTED]],
        "all_classes": len(labels),
        "folders": [[folder, folder.removeprefix(root)] for folder in folders[:MOST_LISTED]],
        "all_folders": len(folders),
        "limits": {"bytes": MAX_BYTES, "terms": MOST_TERMS},
    }


def _class_of(row: Row) -> str | None:
    """Name of the class of a row, its number if it has none, None if it is unlabeled."""
    return row.class_name or (str(row.label) if row.label >= 0 else None)


def _file(path: Path) -> Callable[[Request], Any]:
    """Answers with a file of the page, read once."""
    data, kind = path.read_bytes(), TYPES[path.suffix]

    async def send(request: Request) -> Response:
        return _cached(request, data, kind, "private, no-cache")

    return send


def _cached(request: Request, data: bytes, kind: str, control: str) -> Response:
    """The data, or only that they are what the browser has already."""
    headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"', "Cache-Control": control}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


async def _told(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": _sentence(error.detail)}, error.status_code, error.headers)


async def _wrong(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse({"error": _sentence(str(error))}, 400)


async def _busy(request: Request, error: Exception) -> Response:  # noqa: ARG001
    headers = {"Retry-After": "1", "Connection": "close"}  # the body is not read
    return JSONResponse({"error": "The server is busy; try again."}, 503, headers)


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return Response(status_code=400)


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse({"error": "The server failed; its terminal says why."}, 500)
