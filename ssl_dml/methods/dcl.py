"""DCL and DCLW: SimCLR without the positive in the denominator."""

from typing import final

import torch.nn.functional as F
from torch import Tensor

from ssl_dml import losses
from ssl_dml.backbones.base import Backbone
from ssl_dml.checks import positive
from ssl_dml.distributed import process_group
from ssl_dml.losses.dcl import decoupled_terms, weighted_dcl
from ssl_dml.methods.base import RunInfo
from ssl_dml.methods.views import (
    InBatchContrast,
    candidates_of,
    check_run_info,
    embed_views,
    information,
)
from ssl_dml.types import StepOutput, Views


@final
class DCL(InBatchContrast):
    """Decoupled contrastive learning over all views of the batch of all processes.

    Args:
        backbone: The encoder.
        run_info: Its batch must have 2 samples or more.
        temperature: Softmax temperature, above 0.
        weight_sigma: Sigma of the weights of DCLW, 0.5 in the paper; null for DCL.
        hidden_dim: Width of the projector; null for the dimension of the features.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.

    References:
        Yeh et al., 2022, arXiv:2110.06848.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import Batch, ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = DCL(backbone, run_info)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # embeddings are equal: log(2 * 4 - 2)
    1.7918
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        temperature: float = 0.1,
        weight_sigma: float | None = None,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        layers: int = 2,
    ) -> None:
        check_run_info(run_info, temperature=temperature)
        positive(weight_sigma=weight_sigma)
        loss = losses.DCL(temperature=temperature, weight_sigma=weight_sigma, tile_size="auto")
        super().__init__(backbone, loss, hidden_dim, output_dim, layers)
        self.temperature, self.weight_sigma = temperature, weight_sigma

    def contrast(self, views: Views, *more: Tensor) -> StepOutput:
        """Embed the views and compute the loss; its own bound would be none, so InfoNCE's is."""
        if not isinstance(self.loss, losses.DCL):  # a sum over prefixes
            return super().contrast(views, *more)
        embeddings, group = embed_views(self.backbone, self.projector, views), process_group()
        given = {"temperature": self.temperature, "group": group}
        terms = decoupled_terms(embeddings, tile_size="auto", **given)
        loss = weighted_dcl(terms, weight_sigma=self.weight_sigma, **given)
        negatives, cosines = terms.detach()
        info_nce = F.softplus(negatives - cosines / self.temperature).mean()
        return StepOutput(loss, information(info_nce, candidates_of(views)))
