"""Who is of whose class: a batch against itself and a memory."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.types import Embeddings, Labelled, Triplets


class Comparison(NamedTuple):
    """Anchors, what they are compared with, and which of them are of their class.

    Attributes:
        anchors: The rows of the batch.
        references: The same rows, then those of the memory.
        same: Other rows of the anchor's class.
        other: Rows of other classes.
    """

    anchors: Embeddings
    references: Float[Tensor, "references dim"]
    same: Bool[Tensor, "batch references"]
    other: Bool[Tensor, "batch references"]

    def mined(self, triplets: Triplets | None) -> "Comparison":
        """The pairs that are part of a triplet; all where nothing was mined."""
        if triplets is None:
            return self
        counted = triplets.high > triplets.low
        # A range begins at one rank and ends at another; between them more began than ended.
        edges = torch.zeros(
            len(counted), counted.shape[1] + 1, dtype=torch.long, device=counted.device
        )
        edges.scatter_add_(1, triplets.low, counted.long())
        edges.scatter_add_(1, triplets.high, -counted.long())
        inside = edges.cumsum(dim=1)[:, :-1] > 0
        negatives = torch.zeros_like(self.other).scatter_(1, triplets.order, inside)
        return self._replace(same=counted, other=negatives)


def compare(
    embeddings: Embeddings, labels: Int[Tensor, " labels"], memory: Labelled | None = None
) -> Comparison:
    """Every row of a batch against the others and a memory; never against itself.

    Args:
        embeddings: Rows of the batch.
        labels: Class of each; a row of a negative one is compared with nothing.
        memory: Further references, whose labels may be negative too; gradient does not reach them.

    Raises:
        ValueError: If there are not as many labels as rows, or the memory is of another
            dimension.
    """
    if len(labels) != len(embeddings):
        raise ValueError(f"labels need one entry a row: {len(labels)} for {len(embeddings)} rows")
    references, classes = embeddings, labels
    if memory is not None:
        if memory.embeddings.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"the memory holds rows of {memory.embeddings.shape[1]} dimensions, "
                f"the batch of {embeddings.shape[1]}"
            )
        references = torch.cat([embeddings, memory.embeddings.detach().to(embeddings)])
        classes = torch.cat([labels, memory.labels.to(labels)])
    known = (labels >= 0)[:, None] & (classes >= 0)
    same = labels[:, None] == classes
    return Comparison(embeddings, references, (same & known).fill_diagonal_(False), ~same & known)
