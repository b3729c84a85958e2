"""NPID: every instance is a class of its own, its classifier row kept in a memory bank."""

import math
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distributed import gather, world_size
from ssl_dml.losses import check_temperature, full_softmax, log_normalizer, nce, unit_rows
from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.methods.base import BankMethod, RunInfo
from ssl_dml.types import Batch, Embeddings, Indices, StepOutput

# Logarithms of what the old Z and this batch's estimate weigh in the new Z.
WEIGHTS = {
    "first_batch": (0.0, -math.inf),
    "average": (math.log(0.99), math.log(0.01)),
    "batch": (-math.inf, 0.0),
}


@final
class NPID(BankMethod):
    """Non-parametric instance discrimination by noise-contrastive estimation.

    After the loss, every process writes the embeddings of the whole batch into its bank, or those
    that it owns if the bank is split. Negatives are drawn by a function of sample and step alone,
    so they are the same on any number of processes. Given several views, the loss is the mean over
    them and the bank receives their mean direction.

    It logs ``own_similarity``, the mean cosine of an embedding with its own row; ``bank_drift``,
    the mean of 1 - cosine between a row before and after its update; and for NCE ``log_z``, the
    logarithm of the Z in use, and ``z_drift``, that of this batch's estimate of Z less it, in nats.

    Args:
        backbone: The encoder.
        run_info: Its instances are the rows of the bank.
        temperature: Softmax temperature, above 0; 0.07 in the paper.
        negatives: Instances drawn for each sample, with replacement from all; None compares with
            every instance instead (the full softmax).
        draw_for: Each ``sample`` has negatives of its own as in the paper, which copies
            ``batch * negatives * output_dim`` floats a step; or those of a step serve the whole
            ``batch`` of all processes, which copies ``negatives * output_dim``.
        normalizer: Z: ``first_batch`` fixes it at the first batch as in the paper; ``average``
            follows it with an exponential average (0.99); ``batch`` takes each batch's estimate;
            a number is taken as Z itself. A Z that is too low by x nats makes the negatives weigh
            about exp(x) times what they should, which can undo the features: watch ``z_drift``.
        proximal: Weight of the squared distance to the bank's own row; 0 leaves it out, as the
            authors' code does; the paper shows 30.
        bank_momentum: Fraction of the old row that an update keeps.
        storage: Where and how the bank's rows are kept.
        layers: Linear layers of the projector; 1 in the paper. With 2 there is a batch norm
            between them, without which embeddings of images that are much alike start, and then
            stay, in a narrow cone: the mean that they share is also in their rows of the bank.
        output_dim: Dimension of an embedding.

    References:
        Wu et al., 2018, arXiv:1805.01978.
    """

    log_z: Tensor
    step: Tensor

    def __init__(  # noqa: PLR0913 - the signature is the configuration
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        temperature: float = 0.07,
        negatives: int | None = 4096,
        draw_for: Literal["sample", "batch"] = "sample",
        normalizer: float | Literal["first_batch", "average", "batch"] = "first_batch",
        proximal: float = 0.0,
        bank_momentum: float = 0.5,
        storage: BankStorage = BankStorage(),
        layers: int = 1,
        output_dim: int = 128,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        if negatives is not None and negatives < 1:
            raise ValueError(f"negatives must be at least 1 or null, got {negatives}")
        if negatives is None and storage.sharded:
            raise ValueError(
                "negatives must be a number with storage.sharded, got null: the full softmax needs "
                "every row on every process"
            )
        if not isinstance(normalizer, str) and normalizer <= 0:
            raise ValueError(f"normalizer must be positive, got {normalizer}")
        self.backbone = backbone
        self.projector = mlp(backbone.feature_dim, backbone.feature_dim, output_dim, layers=layers)
        self.bank = MemoryBank(
            run_info.num_instances, output_dim, momentum=bank_momentum, storage=storage
        )
        # DistributedDataParallel would begin by sending rank 0's rows to all.
        self._ddp_params_and_buffers_to_ignore = ["bank.embeddings"]
        self.temperature, self.negatives, self.proximal = temperature, negatives, proximal
        self.draw_for = draw_for
        following = isinstance(normalizer, str)
        self.weights = WEIGHTS[normalizer if following else "first_batch"]
        given = math.nan if following else math.log(normalizer)
        self.register_buffer("log_z", torch.tensor(given))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's samples against the bank, which is then updated."""
        views, indices, _ = batch
        if len({view.shape[-1] for view in views}) > 1:
            raise ValueError("NPID takes views of one size: set crops.local_views to 0")
        embeddings = self.project(self.backbone(torch.cat(list(views))))
        before = self._rows(indices, embeddings)
        own = before.repeat(len(views), 1)
        logs = {"own_similarity": (embeddings.detach() * own).sum(dim=1).mean()}
        if self.negatives is None:
            bank = self._rows(torch.arange(len(self.bank), device=indices.device), embeddings)
            instances = indices.repeat(len(views))
            loss = full_softmax(embeddings, bank, instances=instances, temperature=self.temperature)
        else:
            positive, negative = self._scores(embeddings, own, indices)
            logs |= self._follow_normalizer(negative.detach())
            loss = nce(positive, negative, log_z=self.log_z, num_instances=len(self.bank))
        if self.proximal:
            loss = loss + self.proximal * (embeddings - own).square().sum(dim=1).mean()
        mean_view = F.normalize(embeddings.detach().view(len(views), len(indices), -1).mean(0))
        self.bank.update(gather(indices), gather(mean_view))
        after = self._rows(indices, embeddings)
        logs["bank_drift"] = 1 - F.cosine_similarity(before, after).mean()
        self.step += 1
        return StepOutput(loss, logs)

    def project(self, features: Float[Tensor, "batch features"]) -> Embeddings:
        """From the backbone's features to unit embeddings in the space of the bank."""
        return unit_rows(self.projector(features))

    def _rows(self, indices: Tensor, like: Embeddings) -> Tensor:
        return self.bank.rows(indices).to(like.dtype)

    def _scores(
        self,
        embeddings: Float[Tensor, "rows dim"],
        own: Float[Tensor, "rows dim"],
        indices: Indices,
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows keys"]]:
        """Similarity of each view with its own row and with those drawn, over the temperature."""
        assert self.negatives is not None
        size, dim = len(self.bank), embeddings.shape[1]
        with torch.autocast(embeddings.device.type, enabled=False):
            if self.draw_for == "batch":
                everyone = indices.new_full((1,), -1)  # stands for no sample
                drawn = counter_based_indices(everyone, self.step, count=self.negatives, high=size)[
                    0
                ]
                negative = embeddings @ self._rows(drawn, embeddings).T
            else:
                drawn = counter_based_indices(indices, self.step, count=self.negatives, high=size)
                views = embeddings.view(-1, len(indices), dim).permute(1, 2, 0)
                negative = (self._rows(drawn, embeddings) @ views).permute(2, 0, 1).flatten(0, 1)
            positive = (embeddings * own).sum(dim=1)
        return positive / self.temperature, negative / self.temperature

    @torch.no_grad()
    def _follow_normalizer(self, negative: Float[Tensor, "rows keys"]) -> dict[str, Tensor]:
        """Bring Z up to date with this batch; what to log of it."""
        estimate = log_normalizer(negative, num_instances=len(self.bank))
        estimate = gather(estimate[None]).logsumexp(dim=0) - math.log(world_size())
        kept, taken = self.weights
        later = torch.logaddexp(self.log_z + kept, estimate + taken)
        self.log_z.copy_(torch.where(self.log_z.isnan(), estimate, later))
        return {"log_z": self.log_z.clone(), "z_drift": estimate - self.log_z}
