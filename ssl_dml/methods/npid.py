"""NPID: every instance is a class of its own, its classifier row kept in a memory bank."""

import math
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.distributed import gather, world_size
from ssl_dml.losses import full_softmax, log_normaliser, nce, unit_rows
from ssl_dml.memory import MemoryBank, draw_indices
from ssl_dml.methods.base import Method, Task
from ssl_dml.types import Embeddings, Indices, StepOutput, Views


@final
class NPID(Method):
    """Non-parametric instance discrimination by noise-contrastive estimation.

    After the loss, every process writes the embeddings of the whole batch into its bank, so the
    banks stay equal. Negatives are drawn by a function of sample and step alone, so they are the
    same on any number of processes. Given several views, the loss is the mean over them and the
    bank receives their mean direction.

    Args:
        backbone: The encoder.
        task: Its instances are the rows of the bank.
        temperature: Softmax temperature, above 0; 0.07 in the paper.
        negatives: Instances drawn for each sample, with replacement from all; None compares with
            every instance instead (the full softmax). Their rows are copied for the step:
            ``views * batch * negatives * output_dim`` floats.
        normaliser: Z: ``first_batch`` fixes it at the first batch as in the paper; ``average``
            follows it with an exponential average (0.99); a number is taken as Z itself.
        proximal: Weight of the squared distance to the bank's own row; 0 leaves it out, as the
            authors' code does; the paper shows 30.
        bank_momentum: Share of the old row that an update keeps.
        output_dim: Dimension of an embedding.

    References:
        Wu et al., 2018, arXiv:1805.01978.
    """

    log_z: Tensor
    step: Tensor

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        *,
        temperature: float = 0.07,
        negatives: int | None = 4096,
        normaliser: float | Literal["first_batch", "average"] = "first_batch",
        proximal: float = 0.0,
        bank_momentum: float = 0.5,
        output_dim: int = 128,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if negatives is not None and negatives < 1:
            raise ValueError(f"negatives must be at least 1 or null, got {negatives}")
        if not isinstance(normaliser, str) and normaliser <= 0:
            raise ValueError(f"normaliser must be positive, got {normaliser}")
        self.backbone = backbone
        self.projector = mlp(backbone.feature_dim, backbone.feature_dim, output_dim, layers=1)
        self.bank = MemoryBank(task.num_instances, output_dim, momentum=bank_momentum)
        self.temperature, self.negatives, self.proximal = temperature, negatives, proximal
        self.follow = normaliser == "average"
        given = math.nan if isinstance(normaliser, str) else math.log(normaliser)
        self.register_buffer("log_z", torch.tensor(given))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, views: Views, indices: Indices) -> StepOutput:
        """Loss of this process's samples against the bank, which is then updated."""
        if len({view.shape[-1] for view in views}) > 1:
            raise ValueError("NPID takes views of one size: set crops.local_views to 0")
        features = self.backbone(torch.cat(list(views)))
        embeddings = unit_rows(self.projector(features))
        repeated = indices.repeat(len(views))
        own = self.bank.rows(repeated)
        if self.negatives is None:
            bank = self.bank.embeddings.clone()  # the update below must not reach backward
            loss = full_softmax(embeddings, bank, instances=repeated, temperature=self.temperature)
        else:
            loss = self._nce(embeddings, own, repeated)
        if self.proximal:
            loss = loss + self.proximal * (embeddings - own).square().sum(dim=1).mean()
        similarity = (embeddings.detach() * own).sum(dim=1).mean()
        mean_view = F.normalize(embeddings.detach().view(len(views), len(indices), -1).mean(0))
        self.bank.update(gather(indices), gather(mean_view))
        self.step += 1
        return StepOutput(loss, {"own_similarity": similarity, "log_z": self.log_z.clone()})

    def _nce(self, embeddings: Embeddings, own: Embeddings, indices: Indices) -> Float[Tensor, ""]:
        assert self.negatives is not None
        drawn = draw_indices(indices, self.step, count=self.negatives, high=len(self.bank))
        with torch.autocast(embeddings.device.type, enabled=False):
            positive = (embeddings * own).sum(dim=1) / self.temperature
            rows = self.bank.rows(drawn)
            negative = (rows @ embeddings[:, :, None]).squeeze(2) / self.temperature
        self._follow_normaliser(negative.detach())
        return nce(positive, negative, log_z=self.log_z, num_instances=len(self.bank))

    @torch.no_grad()
    def _follow_normaliser(self, negative: Float[Tensor, "batch keys"]) -> None:
        estimate = log_normaliser(negative, num_instances=len(self.bank))
        estimate = gather(estimate[None]).logsumexp(dim=0) - math.log(world_size())
        if self.follow:
            later = torch.logaddexp(self.log_z + math.log(0.99), estimate + math.log(0.01))
        else:
            later = self.log_z
        self.log_z.copy_(torch.where(self.log_z.isnan(), estimate, later))
