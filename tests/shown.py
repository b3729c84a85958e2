import torch
from PIL import Image

from ssl_dml.reporting.page import Page
from ssl_dml.reporting.sections import Shown
from ssl_dml.tables import EmbeddingTable


def shown(*, noise=0.3, columns=None, seed=0):
    """Twelve samples of three classes, of which one has no image and one no label."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat(4)
    rows = torch.eye(3)[labels] + noise * torch.randn(12, 3, generator=generator)
    labels[11] = -1
    return Shown(
        table=EmbeddingTable(
            embeddings=rows, labels=labels, names=[f"<i>{i}.png" for i in range(12)]
        ),
        class_names=["cat", "<b>", "dog"],
        images=[Image.new("L", (8, 4), 20 * i) for i in range(11)] + [None],
        words="12 samples",
        columns=columns or {},
    )


def added(add, *given):
    page = Page(title="t", subtitle="s")
    add(page, *given)
    return "\n".join(page.parts)
