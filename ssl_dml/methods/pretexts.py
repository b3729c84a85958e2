"""Transformed views as pretext tasks make them, embedded by heads of their own."""

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.backbones.projectors import mlp
from ssl_dml.types import Embeddings, Images

# A patch's fraction of its cell's side: 64 of 85 pixels in the paper.
PATCH = 64 / 85
QUARTERS = 4


class Pretext(nn.Module, ABC):
    """Transforms views and embeds them.

    Attributes:
        draws: Number of random numbers for each view.
    """

    draws: int

    @abstractmethod
    def forward(
        self, backbone: nn.Module, view: Images, random: Int[Tensor, "batch draws"]
    ) -> Embeddings:
        """Embeddings of transformed views, a function of non-negative random integers."""


@final
class Jigsaw(Pretext):
    """Jigsaw: encodes the patches of a grid separately and concatenates them in random order.

    Each patch lies at a random place in its cell. A projector embeds each patch, and a linear map
    joins them. Color jitter changes the view as a whole; the authors' code changes each patch.

    Args:
        dim: Dimension of a feature.
        output_dim: Dimension of an embedding.
        grid: Cells along a side.
        layers: Number of linear layers of the projector of a patch.

    References:
        Noroozi and Favaro, 2016, arXiv:1603.09246; Misra and van der Maaten, 2019,
        arXiv:1912.01991, sec. 3.2.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> jigsaw = Jigsaw(backbone.feature_dim, 5, grid=2, layers=1)
    >>> view, random = torch.zeros(2, 3, 32, 32), torch.arange(24).view(2, 12)
    >>> jigsaw.patches(view, random[:, :4], random[:, 4:8]).shape  # of 12 pixels in cells of 16
    torch.Size([2, 4, 3, 12, 12])
    >>> jigsaw(backbone, view, random).shape
    torch.Size([2, 5])
    """

    def __init__(self, dim: int, output_dim: int, *, grid: int, layers: int) -> None:
        super().__init__()
        self.grid, cells = grid, grid**2
        self.draws = 3 * cells
        self.patch_head = mlp(dim, dim, output_dim, layers=layers)
        self.head = nn.Linear(cells * output_dim, output_dim)

    def forward(
        self, backbone: nn.Module, view: Images, random: Int[Tensor, "batch draws"]
    ) -> Embeddings:
        """Embeddings of the concatenated patches."""
        down, right, order = random.chunk(3, dim=1)
        patches = self.patches(view, down, right)
        features = self.patch_head(backbone(patches.flatten(0, 1)))
        batch, cells = order.shape
        shuffled = features.view(batch, cells, -1)[
            torch.arange(batch, device=order.device)[:, None], order.argsort(dim=1)
        ]
        return self.head(shuffled.flatten(1))

    def patches(
        self, view: Images, down: Int[Tensor, "batch cells"], right: Int[Tensor, "batch cells"]
    ) -> Float[Tensor, "batch cells channels _height _width"]:
        """One patch of every cell, row by row, at offsets taken from random numbers.

        Raises:
            ValueError: If the view is too small for the grid.
        """
        if min(view.shape[2:]) // self.grid < 1:
            raise ValueError(
                f"grid must be at most the side of a view, {min(view.shape[2:])} pixels, got "
                f"{self.grid}"
            )
        cells = torch.arange(self.grid, device=view.device)
        rows = self._along(view.shape[2], cells.repeat_interleave(self.grid), down)
        columns = self._along(view.shape[3], cells.repeat(self.grid), right)
        batch = torch.arange(len(view), device=view.device)[:, None, None, None]
        rows, columns = rows[:, :, :, None], columns[:, :, None, :]
        return view.movedim(1, 3)[batch, rows, columns].movedim(4, 2)

    def _along(
        self, length: int, cells: Int[Tensor, " cells"], random: Int[Tensor, "batch cells"]
    ) -> Int[Tensor, "batch cells side"]:
        """Pixels of the patches along one axis of a view."""
        cell = length // self.grid
        side = round(cell * PATCH)
        first = cells * cell + random % (cell - side + 1)
        return first[:, :, None] + torch.arange(side, device=random.device)


@final
class Rotation(Pretext):
    """Rotation by 0, 90, 180 or 270 degrees.

    Args:
        dim: Dimension of a feature.
        output_dim: Dimension of an embedding.
        layers: Number of linear layers of the projector.

    References:
        Gidaris et al., 2018, arXiv:1803.07728.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> rotation = Rotation(backbone.feature_dim, 5, layers=1)
    >>> rotation(backbone, torch.zeros(2, 3, 32, 32), torch.tensor([[0], [1]])).shape
    torch.Size([2, 5])
    """

    draws = 1

    def __init__(self, dim: int, output_dim: int, *, layers: int) -> None:
        super().__init__()
        self.head = mlp(dim, dim, output_dim, layers=layers)

    def forward(
        self, backbone: nn.Module, view: Images, random: Int[Tensor, "batch draws"]
    ) -> Embeddings:
        """Embeddings of the rotated views.

        Raises:
            ValueError: If the views are not square.
        """
        height, width = view.shape[2:]
        if height != width:
            raise ValueError(
                f"pretexts must not name rotation for views of {height}x{width} pixels, which are "
                "not square"
            )
        turns = torch.stack([view.rot90(k, (2, 3)) for k in range(QUARTERS)])
        rows = torch.arange(len(view), device=view.device)
        return self.head(backbone(turns[random[:, 0] % QUARTERS, rows]))
