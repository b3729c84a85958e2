"""The triplets that a miner's ranges stand for, and a loop over all triplets."""

import itertools
import math

import torch
from rows import batch

from ssl_dml.types import LabeledEmbeddings


def triples(found):
    """The triplets a miner's ranges stand for."""
    order, *pairs = (part.tolist() for part in found)
    return sorted(
        (a, p, order[a][k])
        for a, p, low, high in zip(*pairs, strict=True)
        for k in range(low, high)
    )


def measured(rows, labels, memory=None):
    """Distances, and which of all triplets there are."""
    references = rows if memory is None else torch.cat([rows, memory.embeddings])
    classes = labels if memory is None else torch.cat([labels, memory.labels])
    points, y = references.tolist(), classes.tolist()
    d = [[math.dist(points[a], points[i]) for i in range(len(points))] for a in range(len(rows))]
    every = [
        (a, p, n)
        for a in range(len(rows))
        for p, n in itertools.permutations(range(len(points)), 2)
        if p != a and y[a] == y[p] and y[a] != y[n]
    ]
    return d, every


def assert_definition(miner, expected, beside, seed):
    """A miner's triplets are those of a definition, beside a memory of some rows."""
    torch.manual_seed(seed)
    rows, labels = batch(classes=3, of_each=3)
    memory = None
    if beside:
        memory = LabeledEmbeddings(torch.randn(beside, 5).double(), torch.arange(beside) % 4)
    assert triples(miner(rows, labels, memory)) == sorted(expected(*measured(rows, labels, memory)))
