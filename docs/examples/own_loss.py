"""A loss of your own that a YAML file can name.

Run in this folder: python -m ssl_dml finetune --config own_loss.yaml
"""

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.losses.base import PairLoss, average, compare
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


def softplus_pairs(
    embeddings: Embeddings,
    labels: Labels,
    *,
    scale: float = 8.0,
    threshold: float = 0.8,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    """Logistic loss that puts distances of a class below a threshold and others above it."""
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    distances, positive, negative = compare(embeddings, labels, memory, mined)
    gaps = scale * (distances - threshold)
    return average(F.softplus(gaps), positive) + average(F.softplus(-gaps), negative)


@final
class SoftplusPairs(PairLoss, function=softplus_pairs):
    """Module form of :func:`softplus_pairs`; its options are the keys of YAML."""
