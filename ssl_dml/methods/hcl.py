"""HCL: SimCLR with more weight on hard negatives, corrected for false negatives."""

from typing import final

from ssl_dml import losses
from ssl_dml.backbones.base import Backbone
from ssl_dml.checks import at_least, below
from ssl_dml.methods.base import RunInfo
from ssl_dml.methods.views import InBatchContrast, check_run_info


@final
class HCL(InBatchContrast):
    """Contrastive learning with hard, debiased negatives over the batch of all processes.

    Args:
        backbone: The encoder.
        run_info: Its batch must have 2 samples or more.
        temperature: Softmax temperature, above 0; 0.5 in the paper.
        beta: Concentration on hard negatives, at least 0; 0 for the debiased loss alone.
        tau_plus: Probability that a negative is of the same class, in [0, 1).
        hidden_dim: Width of the projector; null for the dimension of the features.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.

    References:
        Robinson et al., 2021, arXiv:2010.04592; Chuang et al., 2020, arXiv:2007.00224.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import Batch, ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = HCL(backbone, run_info)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # embeddings are equal: log(2 * 4 - 1)
    1.9459
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        temperature: float = 0.5,
        beta: float = 1.0,
        tau_plus: float = 0.1,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        layers: int = 2,
    ) -> None:
        check_run_info(run_info, temperature=temperature)
        at_least(0, beta=beta)
        below(1, tau_plus=tau_plus)
        loss = losses.HCL(temperature=temperature, beta=beta, tau_plus=tau_plus, tile_size="auto")
        super().__init__(backbone, loss, hidden_dim, output_dim, layers)
