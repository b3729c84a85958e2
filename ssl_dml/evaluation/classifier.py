"""Accuracy of a network whose embedding has a value for each class."""

from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

TOP = 5


def classifier(gallery: EmbeddingTable, query: EmbeddingTable | None = None) -> dict[str, float]:
    """Accuracy of embeddings that are logits, as fine-tuning with ``CrossEntropy`` makes them.

    Classes are numbered as in training, so none of them may have been held out there.

    Args:
        gallery: Rows to classify, without a query.
        query: Rows to classify instead.

    Returns:
        ``classifier_top1`` and, with more than 5 values, ``classifier_top5``: the fraction of rows
        whose own class has the highest, or one of the 5 highest, values; each with its 95%
        interval by a bootstrap over rows.

    Raises:
        ConfigError: If there are classes without a value.

    >>> import torch
    >>> rows = torch.tensor([[2.0, 0.0], [2.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 1, 1, 1]))
    >>> classifier(table)["classifier_top1"]
    0.75
    """
    rows = gallery if query is None else query
    dim, classes = rows.embeddings.shape[1], int(rows.labels.max()) + 1
    if classes > dim:
        raise ConfigError(
            f"classifier needs a value for each class, and embeddings have {dim} for {classes} "
            "classes: fine-tune with head CrossEntropy and validation.fraction null"
        )
    results = dict[str, float]()
    for k in (1, TOP) if dim > TOP else (1,):
        right = rows.embeddings.topk(k, dim=1).indices == rows.labels[:, None]
        found = interval(right.any(dim=1).double())
        for end, value in zip(("", "_low", "_high"), found, strict=True):
            results[f"classifier_top{k}{end}"] = value
    return results
