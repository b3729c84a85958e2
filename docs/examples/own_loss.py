"""A loss of your own that a YAML file can name, trained by the command.

Run in this folder: ssl_dml finetune --config own_loss.yaml
"""

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.losses import PairLoss, full_precision
from ssl_dml.pair_masks import pair_masks
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def softplus_pairs(
    embeddings: Embeddings,
    labels: Labels,
    *,
    scale: float = 8.0,
    threshold: float = 0.5,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    """Logistic loss that puts cosines of a class above a threshold and others below it."""
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
    pairs = pair_masks(embeddings, labels, memory).mined(mined)
    cosines = F.normalize(pairs.anchors) @ F.normalize(pairs.references).T
    gaps = scale * (cosines - threshold)
    near = F.softplus(-gaps)[pairs.positive]
    far = F.softplus(gaps)[pairs.negative]
    return near.sum() / max(len(near), 1) + far.sum() / max(len(far), 1)


@final
class SoftplusPairs(PairLoss):
    """Module form of :func:`softplus_pairs`; its arguments are the keys of YAML."""

    def __init__(self, *, scale: float = 8.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.scale, self.threshold = scale, threshold

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch."""
        options = {"scale": self.scale, "threshold": self.threshold}
        return softplus_pairs(embeddings, labels, **options, memory=memory, mined=mined)
