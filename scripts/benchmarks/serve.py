"""What the search page answers when many ask at once."""

import http.client
import io
import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image

import ssl_dml
from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.data import DataConfig, load_train
from ssl_dml.files import write_json
from ssl_dml.index import Index, build_index
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.types import ImageSpec

K, TIMEOUT = 24, 30.0  # results; seconds of a request


def serve_load(
    *, clients: int = 64, rounds: int = 5, run: str | None = None, output: Path | None = None
) -> dict[str, Any]:
    """Print the times of a search page over the 10,000 images of fashion_mini.

    Each client has an own connection. In each round it uploads an image, searches with it, searches
    with its first result, and fetches the thumbnails of that. The server is another process of the
    same machine.

    Args:
        clients: How many ask at once.
        rounds: Rounds of each.
        run: Model, as ``ssl_dml.load`` takes it; None for a ResNet-18 of a quarter of the width
            with random weights, saved and loaded.
        output: File of JSON to write.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = _prepare(folder, run)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(folder, run or folder / "model", theirs))
        server.start()
        try:
            where = ours.recv()
            began = time.perf_counter()
            times, errors = _ask(where, images, clients, rounds)
            wall = time.perf_counter() - began
        finally:
            if server.is_alive() and server.pid:
                os.kill(server.pid, signal.SIGINT)
            server.join()
    asked = sum(map(len, times.values()))
    found: dict[str, Any] = {"clients": clients, "rounds": rounds, "model": run or "random weights"}
    found |= {"requests": asked, "errors": len(errors), "seconds": wall, "per_s": asked / wall}
    print(f"{clients} clients, {asked:,} requests in {wall:.1f} s, {len(errors)} errors")
    print("request        n    p50 ms    p99 ms    max ms")
    for kind, taken in times.items():
        p50, p99, most = (1000 * float(value) for value in np.percentile(taken, [50, 99, 100]))
        found[kind] = {"n": len(taken), "p50_ms": p50, "p99_ms": p99, "max_ms": most}
        print(f"{kind:9} {len(taken):6,} {p50:9.1f} {p99:9.1f} {most:9.1f}")
    for error in errors[:5]:
        print(error)
    if output is not None:
        write_json(output, found)
    return found


def _prepare(folder: Path, run: str | None) -> list[bytes]:
    """Write images, model and index; the bytes of some images."""
    train = load_train(DataConfig(source="fashion_mini"))
    if run is None:
        options = {"name": "resnet18", "width": 0.25}
        assert isinstance(train.spec, ImageSpec)
        backbone = TimmBackbone(train.spec, **options)
        path = "ssl_dml.backbones.TimmBackbone"
        save(backbone, folder / "model", path, options, trained={})
    model = ssl_dml.load(run or folder / "model")
    paths = [folder / "images" / f"{number:05}.png" for number in range(len(train))]
    paths[0].parent.mkdir()
    for pixels, path in zip(train[torch.arange(len(train))][0], paths, strict=True):
        Image.fromarray(pixels.squeeze(0).numpy()).save(path)
    embeddings = torch.from_numpy(model.embed(paths))
    assert train.labels is not None
    info = TableInfo(
        rows=len(paths),
        dim=model.dim,
        class_names=train.class_names,
        weights={"digest": model.digest, "path": str(run)},
        data={"source": str(folder / "images")},
    )
    names = [path.name for path in paths]
    batch = TableBatch(names=names, labels=train.labels, embeddings=embeddings)
    build_index(write_table(folder / "table", info, [batch]), folder / "index")
    return [path.read_bytes() for path in paths[:256]]


def _serve(folder: Path, model: str | Path, pipe: Connection) -> None:
    """In the other process: serve, and tell where."""
    from ssl_dml.serve import Access, Site, address, build_app, listen, serve

    loaded = ssl_dml.load(model)
    site = Site(
        name="fashion_mini",
        index=Index.open(folder / "index"),
        embed=lambda pixels: loaded.embed([pixels])[0],
    )
    listening = listen("127.0.0.1", 0)
    pipe.send(address(listening))
    serve(build_app(site, Access(host="127.0.0.1")), listening)


def _ask(
    where: str, images: list[bytes], clients: int, rounds: int
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds of each kind of request, and what went wrong."""
    times: dict[str, list[float]] = {"upload": [], "search": [], "thumbnail": []}
    errors: list[str] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(where).netloc, timeout=TIMEOUT)
        try:
            for turn in range(rounds):
                _round(connection, images[(number + turn * clients) % len(images)], times)
        except (OSError, http.client.HTTPException, AssertionError) as error:
            errors.append(f"client {number}: {error!r}")
        connection.close()

    _together(client, clients)
    return times, errors


def _round(connection: http.client.HTTPConnection, image: bytes, times: dict[str, Any]) -> None:
    embedded = json.loads(_request(connection, "upload", "/api/embed", image, times))
    term, rows = {"embedding": embedded["embedding"], "sign": 1}, []
    for _ in range(2):
        asked = json.dumps({"terms": [term], "k": K}).encode()
        rows = json.loads(_request(connection, "search", "/api/search", asked, times))["rows"]
        assert len(rows) == K, rows
        term = {"id": rows[0]["id"], "sign": 1}
    for row in rows:
        found = _request(connection, "thumbnail", f"/thumbnail/{row['id']}", None, times)
        assert Image.open(io.BytesIO(found)).size == (28, 28)


def _request(
    connection: http.client.HTTPConnection,
    kind: str,
    path: str,
    body: bytes | None,
    times: dict[str, list[float]],
) -> bytes:
    headers = {"Origin": f"http://{connection.host}:{connection.port}"}
    began = time.perf_counter()
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    times[kind].append(time.perf_counter() - began)
    assert answer.status == http.client.OK, (path, answer.status, data)
    return data


def _together(work: Callable[[int], None], number: int) -> None:
    threads = [threading.Thread(target=work, args=(one,)) for one in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
