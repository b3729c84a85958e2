"""NPID: instance discrimination, each sample a class whose weights are a row of a memory bank."""

import math
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.checks import at_least, positive
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distributed import gather, world_size
from ssl_dml.losses import full_softmax, log_normalizer, nce
from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.methods.base import BankMethod, RunInfo
from ssl_dml.types import Batch, Indices, StepOutput

# Logarithms of the weights of the old Z and of this batch's estimate in the new Z.
WEIGHTS = {
    "first_batch": (0.0, -math.inf),
    "average": (math.log(0.99), math.log(0.01)),
    "batch": (-math.inf, 0.0),
}


@final
class NPID(BankMethod):
    """Non-parametric instance discrimination by noise-contrastive estimation.

    After the loss, every process writes the embeddings of the whole batch to its bank, or those of
    its own rows if the bank is sharded. Negatives are sampled by a function of index and step
    alone, so they are the same on any number of processes. Given several views, the loss is the
    mean over them and the bank receives their mean direction.

    It logs ``own_similarity``, the mean cosine of an embedding with its own row; ``bank_drift``,
    the mean of 1 - cosine between a row before and after its update; and for NCE ``log_z``, the
    logarithm of the Z in use, and ``z_drift``, that of this batch's estimate of Z less it, in nats.

    Args:
        backbone: The encoder.
        run_info: Its number of instances is the number of rows of the bank.
        temperature: Softmax temperature, above 0; 0.07 in the paper.
        negatives: Number of negatives of each sample, drawn from all rows with replacement; null
            compares with every row instead (full softmax).
        draw_for: ``sample`` draws negatives for each sample as in the paper, which copies
            ``batch * negatives * output_dim`` floats a step; ``batch`` draws them once for the
            whole batch of all processes, which copies ``negatives * output_dim``.
        normalizer: The constant Z. ``first_batch`` estimates it from the first batch, as in the
            paper; ``average`` takes an exponential average over batches (0.99); ``batch`` the
            estimate of each batch; a number is Z itself. If Z is too low by x nats, negatives
            weigh about exp(x) times too much, which can destroy the features: watch ``z_drift``.
        proximal: Weight of the squared distance to the bank's own row; 0 leaves it out, as the
            authors' code does; the paper shows 30.
        bank_momentum: Fraction of the old row that an update keeps.
        storage: Precision and device of the bank's rows, and whether it is sharded.
        layers: Number of linear layers of the projector; 1 in the paper. 2 layers have a batch
            norm between them. Without it, embeddings of images that are much alike start in a
            narrow cone and stay there: the mean that they share is also in their rows of the bank.
        output_dim: Dimension of an embedding.

    References:
        Wu et al., 2018, arXiv:1805.01978.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = NPID(backbone, run_info, negatives=None)
    >>> _ = method.bank.embeddings.fill_(0.0)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 1, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # all classes are equally likely: log(100)
    4.6052
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
        positive(temperature=temperature)
        at_least(1, negatives=negatives)
        at_least(0, proximal=proximal)
        if negatives is None and storage.sharded:
            raise ValueError(
                "negatives must be a number with storage.sharded, got null: the full softmax needs "
                "every row on every process"
            )
        if not isinstance(normalizer, str):
            positive(normalizer=normalizer)
        self.backbone = backbone
        self.projector = mlp(backbone.feature_dim, backbone.feature_dim, output_dim, layers=layers)
        self.bank = MemoryBank(
            run_info.num_instances, output_dim, momentum=bank_momentum, storage=storage
        )
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
        # Asked for at once: where the bank is split, each time the host waits for the processes.
        drawn = self._drawn(indices)
        asked = self.bank.rows(torch.cat([indices, drawn.flatten()]))
        before, rows = asked.to(embeddings.dtype).split([len(indices), drawn.numel()])
        own = before.repeat(len(views), 1)
        logs = {"own_similarity": (embeddings.detach() * own).sum(dim=1).mean()}
        if self.negatives is None:
            everything = torch.arange(len(self.bank), device=indices.device)
            bank = self.bank.rows(everything).to(embeddings.dtype)
            instances = indices.repeat(len(views))
            loss = full_softmax(embeddings, bank, instances=instances, temperature=self.temperature)
        else:
            matched, negative = self._scores(embeddings, own, rows.view(*drawn.shape, -1))
            logs |= self._follow_normalizer(negative.detach())
            loss = nce(matched, negative, log_z=self.log_z, num_instances=len(self.bank))
        if self.proximal:
            loss = loss + self.proximal * (embeddings - own).square().sum(dim=1).mean()
        mean_view = F.normalize(embeddings.detach().view(len(views), len(indices), -1).mean(0))
        self.bank.update(gather(indices), gather(mean_view))
        after = self.bank.mixed(asked[: len(indices)], mean_view).to(before.dtype)
        logs["bank_drift"] = 1 - F.cosine_similarity(before, after).mean()
        self.step += 1
        return StepOutput(loss, logs)

    def _drawn(self, indices: Indices) -> Int[Tensor, "draws keys"]:
        """Instances of the negatives of each sample, or of the batch; none without."""
        if self.negatives is None:
            return indices.new_empty(0, 0)
        # -1 stands for no sample.
        asked = indices.new_full((1,), -1) if self.draw_for == "batch" else indices
        size = len(self.bank)
        return counter_based_indices(asked, self.step, count=self.negatives, high=size)

    def _scores(
        self,
        embeddings: Float[Tensor, "rows dim"],
        own: Float[Tensor, "rows dim"],
        drawn: Float[Tensor, "draws keys dim"],
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows keys"]]:
        """Similarities of each view to its own row and to its negatives, over the temperature."""
        with torch.autocast(embeddings.device.type, enabled=False):
            if self.draw_for == "batch":
                negative = embeddings @ drawn[0].T
            else:
                views = embeddings.unflatten(0, (-1, len(drawn))).permute(1, 2, 0)
                negative = (drawn @ views).permute(2, 0, 1).flatten(0, 1)
            matched = (embeddings * own).sum(dim=1)
        return matched / self.temperature, negative / self.temperature

    @torch.no_grad()
    def _follow_normalizer(self, negative: Float[Tensor, "rows keys"]) -> dict[str, Tensor]:
        """Update Z with this batch, and return what to log."""
        estimate = log_normalizer(negative, num_instances=len(self.bank))
        estimate = gather(estimate[None]).logsumexp(dim=0) - math.log(world_size())
        kept, taken = self.weights
        later = torch.logaddexp(self.log_z + kept, estimate + taken)
        self.log_z.copy_(torch.where(self.log_z.isnan(), estimate, later))
        return {"log_z": self.log_z.clone(), "z_drift": estimate - self.log_z}
