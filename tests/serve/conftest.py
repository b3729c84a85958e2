"""A site over a small index: squares of one color each, of which near colors are neighbors."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from ssl_dml.index.index import build_index
from ssl_dml.serve import Access, Site, build_app
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.threshold_file import Limits

NAMES = ("red", "yellow", "green", "cyan", "blue", "magenta")
ROWS, HOST = 60, "127.0.0.1:8000"


def square(hue):
    """An image of one color; hues run from 0 to 1 around the circle."""
    pixels = tuple(round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.8, 0.9))
    return Image.new("RGB", (24, 24), pixels)


def embed(pixels):
    """Mean color less gray: an embedding that a test can reckon."""
    return np.asarray(pixels, np.float32).reshape(-1, 3).mean(axis=0) / 255 - 0.5


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """The folder of the squares; ``paths`` in the order of their hues."""
    folder = tmp_path_factory.mktemp("colors")
    for number in range(ROWS):
        path = folder / path_of(number)
        path.parent.mkdir(exist_ok=True, parents=True)
        square(number / ROWS).save(path)
    return folder


def path_of(number):
    name = NAMES[number * 6 // ROWS]
    return f"{'warm' if number < ROWS // 3 else 'cold'}/{name}/{number}.png"


@pytest.fixture(scope="session")
def index(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    batch = TableBatch(
        names=[path_of(number) for number in range(ROWS)],
        labels=torch.arange(ROWS) * 6 // ROWS,
        embeddings=torch.stack([torch.from_numpy(embed(square(i / ROWS))) for i in range(ROWS)]),
    )
    info = TableInfo(rows=ROWS, dim=3, class_names=list(NAMES), data={"source": str(images)})
    return build_index(write_table(folder / "table", info, [batch]), folder / "index")


@pytest.fixture(scope="session")
def site(index):
    return Site(name="colors", index=index, embed=embed, limits=Limits(0.9))


@pytest.fixture
def client(site):
    app = build_app(site, Access(host="127.0.0.1"))
    headers = {"Origin": f"http://{HOST}"}
    return TestClient(app, f"http://{HOST}", headers=headers, raise_server_exceptions=False)
