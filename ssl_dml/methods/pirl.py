"""PIRL: an image and its pretext transform share one row of a memory bank."""

import math
from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distributed import gather, world_size
from ssl_dml.losses import check_temperature, log_normalizer, nce, softmax_nce, unit_rows
from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.methods.base import BankMethod, RunInfo
from ssl_dml.methods.pretexts import Jigsaw, Pretext, Rotation
from ssl_dml.types import Batch, Embeddings, Images, Indices, StepOutput

# What is drawn at a step, each independently of the others.
STREAMS = ("negatives", "jigsaw", "rotation")


@final
class PIRL(BankMethod):
    r"""Pretext-invariant representations on a memory bank.

    With :math:`m_I` the bank's row of an image, :math:`f(v_I)` the embedding of its first view
    and :math:`g(v_{I^t})` that of its last view transformed, both against rows drawn from other
    images:

    .. math:: \lambda L(m_I, g(v_{I^t})) + (1 - \lambda) L(m_I, f(v_I))

    The bank then receives :math:`f(v_I)` of the whole batch. Draws are a function of sample and
    step alone, so they are the same on any number of processes.

    Args:
        backbone: The encoder.
        run_info: Its instances are the rows of the bank.
        pretexts: How the last view is transformed; the loss is the mean over them.
        grid: Cells along a side of the jigsaw, 3 in the paper; views should leave each cell
            enough pixels for the backbone.
        objective: ``paper`` takes :func:`~ssl_dml.losses.softmax_nce`. The authors' code, VISSL,
            has two others: ``nce``, that of NPID with the normalizer of the first batch, and, in
            its recipes with two layers, ``cross_entropy`` (InfoNCE).
        weight: :math:`\lambda`, the transform's fraction of the loss, in [0, 1].
        temperature: Softmax temperature, above 0.
        negatives: Other images drawn for each sample, with replacement; 32,000 in the paper.
            Their rows are copied for the step: ``batch * negatives * output_dim`` floats.
        bank_momentum: Fraction of the old row that an update keeps.
        storage: Where and how the bank's rows are kept.
        output_dim: Dimension of an embedding.
        layers: Linear layers from features to an embedding; 1 in the paper.

    References:
        Misra and van der Maaten, 2019, arXiv:1912.01991, eq. 5; code: VISSL.
    """

    log_z: Tensor
    step: Tensor

    def __init__(  # noqa: PLR0913 - each is a choice of the paper or its code
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        pretexts: Sequence[Literal["jigsaw", "rotation"]] = ("jigsaw",),
        grid: int = 3,
        objective: Literal["paper", "nce", "cross_entropy"] = "paper",
        weight: float = 0.5,
        temperature: float = 0.07,
        negatives: int = 4096,
        bank_momentum: float = 0.5,
        storage: BankStorage = BankStorage(),
        output_dim: int = 128,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if not pretexts or len(set(pretexts)) < len(pretexts):
            raise ValueError(f"pretexts must name one or more, each once, got {list(pretexts)}")
        if grid < 1:
            raise ValueError(f"grid must be at least 1, got {grid}")
        if not 0 <= weight <= 1:
            raise ValueError(f"weight must be from 0 to 1, got {weight}")
        check_temperature(temperature)
        if negatives < 1:
            raise ValueError(f"negatives must be at least 1, got {negatives}")
        if run_info.num_instances < 2:  # noqa: PLR2004
            raise ValueError(f"PIRL compares samples: give 2 or more, got {run_info.num_instances}")
        dim = backbone.feature_dim
        self.backbone = backbone
        self.projector = mlp(dim, dim, output_dim, layers=layers)
        heads: dict[str, Pretext] = {
            "jigsaw": Jigsaw(dim, output_dim, grid=grid, layers=layers),
            "rotation": Rotation(dim, output_dim, layers=layers),
        }
        self.pretexts = nn.ModuleDict({name: heads[name] for name in pretexts})
        self.bank = MemoryBank(
            run_info.num_instances, output_dim, momentum=bank_momentum, storage=storage
        )
        # DistributedDataParallel would begin by sending rank 0's rows to all.
        self._ddp_params_and_buffers_to_ignore = ["bank.embeddings"]
        self.instances, self.negatives = run_info.num_instances, negatives
        self.objective, self.weight, self.temperature = objective, weight, temperature
        self.register_buffer("log_z", torch.tensor(math.nan))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's samples against the bank, which is then updated."""
        views, indices, _ = batch
        if len(views) > 2:  # noqa: PLR2004
            raise ValueError(
                f"PIRL takes a view as it is and one to transform: set crops.views to 1 or 2, "
                f"got {len(views)}"
            )
        plain = self.project(self.backbone(views[0]))
        own = self.bank.rows(indices).to(plain)
        drawn = self._draw(indices, "negatives", count=self.negatives, high=self.instances - 1)
        # Never its own row.
        others = self.bank.rows(drawn + (drawn >= indices[:, None])).to(plain)
        transformed = self._transformed(views[-1], indices)
        invariance = torch.stack([self._loss(rows, own, others) for rows in transformed.values()])
        loss = self.weight * invariance.mean() + (1 - self.weight) * self._loss(plain, own, others)
        logs = {
            f"{name}_similarity": (rows.detach() * own).sum(dim=1).mean()
            for name, rows in {"own": plain, **transformed}.items()
        }
        self.bank.update(gather(indices), gather(plain))
        self.step += 1
        return StepOutput(loss, logs)

    def project(self, features: Float[Tensor, "batch features"]) -> Embeddings:
        """From the backbone's features to unit embeddings in the space of the bank."""
        return unit_rows(self.projector(features))

    def _transformed(self, view: Images, indices: Indices) -> dict[str, Embeddings]:
        rows: dict[str, Tensor] = {}
        for name, module in self.pretexts.items():
            pretext: Any = module
            random = self._draw(indices, name, count=pretext.draws, high=2**62)
            rows[name] = unit_rows(pretext(self.backbone, view, random))
        return rows

    def _draw(
        self, indices: Indices, stream: str, *, count: int, high: int
    ) -> Int[Tensor, "batch draws"]:
        moment = self.step * len(STREAMS) + STREAMS.index(stream)
        return counter_based_indices(indices, moment, count=count, high=high)

    def _loss(
        self, rows: Embeddings, own: Embeddings, others: Float[Tensor, "batch keys dim"]
    ) -> Float[Tensor, ""]:
        with torch.autocast(rows.device.type, enabled=False):
            positive = (rows * own).sum(dim=1) / self.temperature
            negative = (others @ rows[:, :, None]).squeeze(2) / self.temperature
        if self.objective == "paper":
            return softmax_nce(positive, negative)
        if self.objective == "cross_entropy":
            logits = torch.cat([positive[:, None], negative], dim=1)
            return -logits.log_softmax(dim=1)[:, 0].mean()
        estimate = log_normalizer(negative.detach(), num_instances=self.instances)
        estimate = gather(estimate[None]).logsumexp(dim=0) - math.log(world_size())
        self.log_z.copy_(torch.where(self.log_z.isnan(), estimate, self.log_z))
        return nce(positive, negative, log_z=self.log_z, num_instances=self.instances)
