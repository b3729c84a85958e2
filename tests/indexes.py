"""Tables of embeddings and indices of them, for several tests."""

import torch

from ssl_dml.tables import TableBatch, TableInfo, write_table

DIGEST = "1234567890abcdef" * 4


def clustered(rows, dim=32, seed=0):
    """Rows around 50 centers, which are the same for each seed."""
    centers = 2 * torch.randn(50, dim, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    return centers[torch.arange(rows) % 50] + torch.randn(rows, dim, generator=generator)


def stored(folder, rows=300, dim=32, *, seed=0, first=0, embeddings=None, parts=1, **changes):
    """A table whose row i is `CLASS/i.png`, of three classes."""
    embeddings = clustered(rows, dim, seed) if embeddings is None else embeddings
    classes = ["ant", "bee", "cat"]
    batches = []
    for own in torch.arange(len(embeddings)).chunk(parts):
        names = [f"{classes[i % 3]}/{first + i}.png" for i in own.tolist()]
        batches.append(TableBatch(names=names, labels=own % 3, embeddings=embeddings[own]))
    weights = {"digest": DIGEST, "path": "runs/mine"}
    given = {"rows": 0, "dim": embeddings.shape[1], "class_names": classes, "weights": weights}
    return write_table(folder, TableInfo(**{**given, **changes}), batches)
