"""CPC: predict the latents ahead of a context, among latents of other positions and samples."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.context import GridContext
from ssl_dml.backbones.patches import PatchBackbone
from ssl_dml.backbones.sequence import SequenceBackbone
from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.distributed import gather_with_gradient, rank
from ssl_dml.losses import cpc, cpc_scores
from ssl_dml.losses.cpc import Negatives
from ssl_dml.methods.base import Method, RunInfo
from ssl_dml.methods.views import information
from ssl_dml.types import Batch, StepOutput


@final
class CPC(Method):
    """Contrastive predictive coding of sequences.

    A linear map of the context at time t predicts the latent at t + k, one map for each k up to
    ``horizon``. The loss is the mean over k of the cross-entropy over all t that have such a
    latent. Each view is contrasted separately, so that views of one sample are not negatives of
    each other, and the loss is the mean over views; one view is usual.

    Args:
        backbone: A :class:`~ssl_dml.backbones.SequenceBackbone`.
        run_info: Its batch size.
        horizon: Number of latents ahead to predict; 12 in the paper.
        negatives: Where negatives come from, see :func:`~ssl_dml.losses.cpc_scores`.
        scale: Factor of the scores, see :func:`~ssl_dml.losses.cpc_scores`.

    References:
        van den Oord et al., 2018, arXiv:1807.03748.

    >>> from ssl_dml.types import SequenceSpec
    >>> inputs = SequenceSpec(channels=1, length=800, mean=(0.0,), std=(1.0,))
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = CPC(SequenceBackbone(inputs, width=8, context_dim=8), run_info, horizon=1)
    >>> _ = method.ahead.maps[0].weight.data.fill_(0.0)
    >>> batch = Batch([torch.randn(4, 1, 800)], torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # equal scores of 4 latents ahead and 3 samples: log(7)
    1.9459
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        horizon: int = 12,
        negatives: Negatives = "both",
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, SequenceBackbone):
            raise ValueError(
                f"CPC needs ssl_dml.backbones.SequenceBackbone, got {type(backbone).__name__}; "
                "for images use CPCImages"
            )
        # Narrower than the contract says, and never assigned again.
        self.backbone: SequenceBackbone = backbone  # pyright: ignore[reportIncompatibleVariableOverride]
        self.horizon, steps = horizon, range(1, horizon + 1)
        dims = backbone.context_dim, backbone.latent_dim
        self.ahead = _Ahead(*dims, run_info, steps, negatives=negatives, scale=scale)

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's sequences among those of all processes.

        Raises:
            ValueError: If the sequences are not longer than the horizon.
        """
        return _output([self.scores(view) for view in batch.views], self.ahead.negatives)

    def scores(self, samples: Float[Tensor, "batch channels values"]) -> list[Tensor]:
        """Scores of each step ahead, see :func:`~ssl_dml.losses.cpc_scores`."""
        latents = self.backbone.latents(samples)
        needed = self.horizon + 1
        if latents.shape[1] < needed:
            raise ValueError(
                f"CPC: sequences of {samples.shape[2]} values are {latents.shape[1]} latents, too "
                f"short for horizon {self.horizon}: set augment's window to "
                f"{needed * self.backbone.hop} or more, or a smaller method.horizon"
            )
        return self.ahead(self.backbone.context(latents), gather_with_gradient(latents))


@final
class CPCImages(Method):
    """Contrastive predictive coding of images cut into a grid of patches.

    The context of a row, a causal network over the rows down to it, predicts the rows below, from
    ``skip + 1`` to ``horizon`` further down; cells of a row share one linear map. Each further
    direction does the same on the grid rotated by 90 degrees, with networks of its own. The loss
    is the mean over rows ahead, directions and views; as in :class:`CPC` each view is contrasted
    separately.

    Args:
        backbone: A :class:`~ssl_dml.backbones.PatchBackbone`.
        run_info: Its batch size.
        horizon: Furthest row ahead to predict.
        skip: Number of rows next to the context not to predict; 1 for patches that overlap by
            half, which the pixels they share with the context would give away.
        directions: 1 predicts downwards only, as in the first paper; 4 as in the second.
        negatives: Where negatives come from, see :func:`~ssl_dml.losses.cpc_scores`; positions
            are cells.
        scale: Factor of the scores, see :func:`~ssl_dml.losses.cpc_scores`.
        context_dim: Channels of the context network; null for the dimension of the features.
        context_blocks: Number of its residual blocks, see
            :class:`~ssl_dml.backbones.context.GridContext`.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, sec. 3.2; Hénaff et al., 2019,
        arXiv:1905.09272.

    >>> from ssl_dml.types import ImageSpec
    >>> inputs = ImageSpec.imagenet(32)
    >>> backbone = PatchBackbone(inputs, patch=16, stride=8, name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = CPCImages(backbone, run_info, horizon=2, negatives="batch")
    >>> _ = method.ahead[0].maps[0].weight.data.fill_(0.0)
    >>> batch = Batch([torch.randn(4, 3, 32, 32)], torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # equal scores of the 4 samples: log(4)
    1.3863
    """

    def __init__(
        self,
        backbone: Backbone,
        run_info: RunInfo,
        *,
        horizon: int = 3,
        skip: int = 1,
        directions: int = 1,
        negatives: Negatives = "both",
        scale: float = 1.0,
        context_dim: int | None = None,
        context_blocks: int = 5,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, PatchBackbone):
            raise ValueError(
                f"CPCImages needs ssl_dml.backbones.PatchBackbone, got {type(backbone).__name__}; "
                "for sequences use CPC"
            )
        in_range(1, 4, directions=directions)
        if not 0 <= skip < horizon:
            raise ValueError(f"skip must be from 0 to below horizon {horizon}, got {skip}")
        dim, steps = backbone.feature_dim, range(skip + 1, horizon + 1)
        self.horizon = horizon
        self.negatives: Negatives = negatives
        self.backbone: PatchBackbone = backbone  # pyright: ignore[reportIncompatibleVariableOverride]
        self.contexts = nn.ModuleList(
            GridContext(
                dim, hidden_dim=dim if context_dim is None else context_dim, blocks=context_blocks
            )
            for _ in range(directions)
        )
        self.ahead = nn.ModuleList(
            _Ahead(dim, dim, run_info, steps, negatives=negatives, scale=scale)
            for _ in range(directions)
        )

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of this process's images among those of all processes.

        Raises:
            ValueError: If a grid has no more rows than the horizon.
        """
        scores = [scores for view in batch.views for scores in self.scores(view)]
        return _output(scores, self.negatives)

    def scores(self, samples: Float[Tensor, "batch channels height width"]) -> list[list[Tensor]]:
        """Scores of each row ahead, for each direction."""
        grid = self.backbone.grid(samples)
        everyone = gather_with_gradient(grid)
        found: list[list[Tensor]] = []
        for turns, (context, ahead) in enumerate(zip(self.contexts, self.ahead, strict=True)):
            turned = grid.rot90(turns, (1, 2))
            if turned.shape[1] <= self.horizon:
                raise ValueError(
                    f"CPCImages: a grid of {turned.shape[1]} rows is too small for horizon "
                    f"{self.horizon}: set a smaller method.horizon or backbone stride, or a "
                    "larger crops.resolution"
                )
            found.append(ahead(context(turned), everyone.rot90(turns, (1, 2))))
        return found


@final
class _Ahead(nn.Module):
    """One linear map for each number of steps along the first axis."""

    def __init__(
        self,
        context_dim: int,
        latent_dim: int,
        run_info: RunInfo,
        steps: range,
        *,
        negatives: Negatives,
        scale: float,
    ) -> None:
        super().__init__()
        at_least(1, horizon=steps.stop - 1)
        positive(scale=scale)
        if negatives == "batch" and run_info.batch_size < 2:  # noqa: PLR2004
            raise ValueError(
                "negatives 'batch' needs 2 samples a batch: set a larger data.batch_size, or "
                "negatives to sequence"
            )
        self.steps, self.scale = steps, scale
        self.negatives: Negatives = negatives
        self.maps = nn.ModuleList(nn.Linear(context_dim, latent_dim, bias=False) for _ in steps)

    def forward(
        self,
        context: Float[Tensor, "batch length *across context_dim"],
        latents: Float[Tensor, "all length *across latent_dim"],
    ) -> list[Tensor]:
        """Scores of each distance ahead; ``latents`` are those of all processes."""
        scores: list[Tensor] = []
        for distance, linear in zip(self.steps, self.maps, strict=True):
            predictions = linear(context[:, :-distance]).flatten(1, -2)
            targets = latents[:, distance:].flatten(1, -2)
            if self.negatives == "sequence" and predictions.shape[1] == 1:
                raise ValueError(
                    f"negatives 'sequence': a single position has a target {distance} ahead; set "
                    "a smaller horizon, or negatives to both"
                )
            first, kind = rank() * len(predictions), self.negatives
            scores.append(
                cpc_scores(predictions, targets, first_row=first, negatives=kind, scale=self.scale)
            )
        return scores


def _output(scores: Sequence[Sequence[Tensor]], negatives: Negatives) -> StepOutput:
    """Mean over all; accuracy is the fraction of positives that score above every negative."""
    losses = torch.stack([torch.stack([cpc(step) for step in steps]) for steps in scores])
    with torch.no_grad():
        won = [(s[:, :, 0] > s[:, :, 1:].amax(dim=2)).float().mean() for t in scores for s in t]
        near, far = losses[:, 0].mean(), losses[:, -1].mean()
        logs = {"accuracy": torch.stack(won).mean(), "loss_nearest": near, "loss_furthest": far}
        copies = 2 if negatives == "both" else 1  # of the positive, which are masked
        candidates = [s.shape[2] - copies for t in scores for s in t]
        logs |= information(losses.mean(), *candidates)
    return StepOutput(losses.mean(), logs)
