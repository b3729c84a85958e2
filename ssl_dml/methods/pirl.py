"""PIRL: an image and its pretext transform have the same positive, a row of a memory bank."""

from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distributed import gather
from ssl_dml.losses import softmax_nce
from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.methods.base import BankMethod, RunInfo
from ssl_dml.methods.pretexts import Jigsaw, Pretext, Rotation
from ssl_dml.precision import unit_rows
from ssl_dml.types import Batch, Embeddings, Images, Indices, StepOutput

# What is drawn in a step, each independently of the others.
STREAMS = ("negatives", "jigsaw", "rotation")


@final
class PIRL(BankMethod):
    r"""Pretext-invariant representations on a memory bank.

    With :math:`m_I` the bank's row of an image, :math:`f(v_I)` the embedding of its first view,
    :math:`g(v_{I^t})` that of its transformed last view, and L
    :func:`~ssl_dml.losses.softmax_nce` against rows of other images:

    .. math:: \lambda L(m_I, g(v_{I^t})) + (1 - \lambda) L(m_I, f(v_I))

    The bank then receives :math:`f(v_I)` of the whole batch. Random numbers are a function of
    index and step alone, so they are the same on any number of processes. The authors' code,
    VISSL, differs from the paper: it takes the NCE loss of NPID, or InfoNCE, for L.

    Args:
        backbone: The encoder.
        run_info: Its number of instances is the number of rows of the bank.
        pretexts: Transforms of the last view; the loss is the mean over them.
        grid: Cells along a side of the jigsaw, 3 in the paper; the backbone sees each cell alone.
        weight: :math:`\lambda`, the weight of the transform in the loss, in [0, 1].
        temperature: Softmax temperature, above 0.
        negatives: Number of other images drawn for each sample, with replacement; 32,000 in the
            paper. A step copies their rows: ``batch * negatives * output_dim`` floats.
        bank_momentum: Fraction of the old row that an update keeps.
        storage: Precision and device of the bank's rows, and whether it is sharded.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers from features to an embedding; 1 in the paper.

    References:
        Misra and van der Maaten, 2019, arXiv:1912.01991, eq. 5; code: VISSL.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = PIRL(backbone, run_info, grid=2, negatives=7)
    >>> _ = method.bank.embeddings.fill_(0.0)
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # equal scores: log(8) + 7 log(8 / 7)
    3.0142
    """

    step: Tensor

    def __init__(  # noqa: PLR0913 - each is a choice of the paper or its code
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        pretexts: Sequence[Literal["jigsaw", "rotation"]] = ("jigsaw",),
        grid: int = 3,
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
        at_least(1, grid=grid, negatives=negatives)
        in_range(0, 1, weight=weight)
        positive(temperature=temperature)
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
        self.instances, self.negatives = run_info.num_instances, negatives
        self.weight, self.temperature = weight, temperature
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
        drawn = self._draw(indices, "negatives", count=self.negatives, high=self.instances - 1)
        drawn += drawn >= indices[:, None]  # never its own row
        # Asked for at once: where the bank is split, each time the host waits for the processes.
        asked = torch.cat([indices[:, None], drawn], dim=1)
        own, others = self.bank.rows(asked).to(plain).split([1, self.negatives], dim=1)
        own = own[:, 0]
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
            matched = (rows * own).sum(dim=1) / self.temperature
            negative = (others @ rows[:, :, None]).squeeze(2) / self.temperature
        return softmax_nce(matched, negative)
