"""The example page in headless Chromium, offline: the embedding that the toolkit gives."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.types import ImageSpec

PAGE = Path(__file__).parents[2] / "docs/examples/onnxruntime_web"
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(autouse=True)
def _traceable(monkeypatch):
    """A traced size is a symbol, which is no integer to the checks of shapes in tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def page_folder(tmp_path):
    dist = os.environ.get("ORT_WEB")
    if dist is None or not all((Path(dist) / name).exists() for name in FILES):
        pytest.skip("ORT_WEB names no folder with the files of onnxruntime-web: npm pack")
    folder = tmp_path / "page"
    folder.mkdir()
    for file in [*(Path(dist) / name for name in FILES), PAGE / "index.html", PAGE / "page.js"]:
        shutil.copy(file, folder)
    return folder


@pytest.fixture
def address(page_folder):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=page_folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("channels", [3, 1])
def test_the_page_gives_the_same_embedding(page_folder, address, tmp_path, channels):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}")
    import ssl_dml
    from ssl_dml.commands import export

    torch.manual_seed(0)
    arguments = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
    spec = ImageSpec(channels=channels, size=32, mean=(0.5,) * channels, std=(0.25,) * channels)
    save(TimmBackbone(spec, **arguments), tmp_path / "backbone",
         "ssl_dml.backbones.TimmBackbone", arguments, trained={})  # fmt: skip
    export.main(["--weights", str(tmp_path / "backbone"), "--to", "onnx",
                 "--output", str(page_folder / "model.onnx")])  # fmt: skip
    model = ssl_dml.load(tmp_path / "backbone", device="cpu")
    small = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    files = []
    for size in ((32, 32), (75, 51)):
        files.append(tmp_path / f"{size[0]}.png")
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(files[-1])
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, requests = browser.new_page(), []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        page.get_by_text("Ready: choose an image.").wait_for(timeout=60_000)
        for file, bound in zip(files, (1e-4, 5e-3), strict=True):
            page.set_input_files("#file", file)
            page.get_by_alt_text(file.name).wait_for(timeout=60_000)
            found = np.array(page.evaluate("embed(find('file').files[0]).then(Array.from)"))
            wanted = model.embed(file)[0]
            difference = np.abs(found - wanted / np.linalg.norm(wanted)).max()
            print(f"{channels} channels, {file.name}: {difference:.1e}")
            assert difference < bound
        if "SHOT" in os.environ:
            page.screenshot(path=os.environ["SHOT"])
        browser.close()
    assert all(url.startswith((address, "blob:")) for url in requests)
