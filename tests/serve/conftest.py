"""A site over a small index: squares of one color each, of which near colors are neighbors."""

import colorsys
import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from ssl_dml.serve import Access, Site, build_app
from ssl_dml.serve.facets import Facets

NAMES = ("red", "yellow", "green", "cyan", "blue", "magenta")
HOST = "127.0.0.1:8000"
ORIGIN = {"Origin": f"http://{HOST}"}


def square(hue, size=24):
    """An image of one color; hues run from 0 to 1 around the circle."""
    pixels = tuple(round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.8, 0.9))
    return Image.new("RGB", (size, size), pixels)


def encoded(image, format="PNG"):
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def embed(pixels):
    """Mean color less gray: an embedding that a test can reckon."""
    return np.asarray(pixels, np.float32).reshape(-1, 3).mean(axis=0) / 255 - 0.5


@dataclass
class Row:
    id: int
    path: str
    label: int
    class_name: str | None


class Colors:
    def __init__(self, rows=60):
        self.images = [square(i / rows) for i in range(rows)]
        self.embedded = torch.stack([torch.from_numpy(embed(image)) for image in self.images])
        self.embedded /= self.embedded.norm(dim=1, keepdim=True)

    @property
    def ids(self):
        return torch.arange(len(self.images))

    def search(self, embeddings, k):
        return (embeddings @ self.embedded.T).topk(k, dim=1)

    def rows(self, ids):
        return [self.row(int(i)) for i in ids]

    def row(self, i):
        label = i * 6 // len(self.images)
        return Row(
            i, f"{'warm' if label < 2 else 'cold'}/{NAMES[label]}/{i}.png", label, NAMES[label]
        )

    def embeddings(self, ids):
        return self.embedded[ids]

    def thumbnail(self, id):
        return encoded(self.images[id])


@pytest.fixture(scope="session")
def index():
    return Colors()


@pytest.fixture(scope="session")
def site(index):
    return Site(
        name="colors",
        index=index,
        facets=Facets(index.ids, index.rows),
        dim=3,
        embed=embed,
        threshold=0.9,
    )


@pytest.fixture
def client(site):
    app = build_app(site, Access(host="127.0.0.1"))
    return TestClient(app, f"http://{HOST}", headers=ORIGIN, raise_server_exceptions=False)
