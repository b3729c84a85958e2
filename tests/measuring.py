"""Measures that processes share, on tables that are hard: copies, and classes that overlap."""

import torch

from ssl_dml.evaluation import few_labels, knn, label_distances, linear_probe, logistic, retrieval
from ssl_dml.evaluation.health import health_on
from ssl_dml.evaluation.layers import layers
from ssl_dml.tables import EmbeddingTable


def tables():
    """Overlapping classes, some rows of which are copies."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(700) % 7
    centers = torch.randn(7, 12, generator=generator)
    rows = centers[labels] + 1.5 * torch.randn(700, 12, generator=generator)
    rows[600:650] = rows[:50]
    table = EmbeddingTable(embeddings=rows, labels=labels)
    return table.at(torch.arange(500)), table.at(torch.arange(500, 700))


def measured(compute):
    """Every measure that processes share."""
    gallery, query = tables()
    pair, given = (gallery, query), {"compute": compute}
    ages = torch.arange(7.0)[:, None]
    measures = ("recall", "precision", "mrr", "map_at_r", "r_precision", "map")
    return {
        "knn": knn(*pair, ks=(5, 1), **given),
        "itself": retrieval(gallery, measures=measures, confidence=0.9, **given),
        "retrieval": retrieval(*pair, metric="euclidean", **given),
        "few": retrieval(gallery, query.at(torch.tensor([0])), **given),
        "labels": label_distances(*pair, label_values=ages, **given),
        "layers": layers(*pair, dims={"first": 5, "last": 7}, k=5, **given),
        "linear": linear_probe(*pair, learning_rates=(0.1, 1.0), epochs=3, **given),
        "single": linear_probe(*pair, learning_rates=(0.1,), weight_decays=(0.0,), epochs=3,
                               **given),
        "logistic": logistic(*pair, l2s=(0.1, 0.01), iterations=50, **given),
        "few_labels": few_labels(*pair, per_class=(1, 5), draws=3, **given),
        "health": health_on(compute, gallery.embeddings),
    }  # fmt: skip
