"""Transformed views as pretext tasks make them, embedded by heads of their own."""

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.types import Embeddings, Images

# A patch's fraction of its cell's side: 64 of 85 pixels in the paper.
PATCH = 64 / 85
QUARTERS = 4


class Pretext(nn.Module, ABC):
    """Transforms views and embeds them.

    Attributes:
        draws: Random numbers that a view takes.
    """

    draws: int

    @abstractmethod
    def forward(
        self, backbone: Backbone, view: Images, random: Int[Tensor, "batch draws"]
    ) -> Embeddings:
        """Embeddings of transformed views, a function of non-negative random numbers."""


@final
class Jigsaw(Pretext):
    """Patches of a grid, each encoded by itself, side by side in a random order.

    A patch lies at a random place in its cell, and has a map of its own before the linear one
    that joins them. Colors change once a view; the authors' code changes those of each patch.

    Args:
        dim: Dimension of a feature.
        output_dim: Dimension of an embedding.
        grid: Cells along a side.
        layers: Linear layers of a patch's map.

    References:
        Noroozi and Favaro, 2016, arXiv:1603.09246; Misra and van der Maaten, 2019,
        arXiv:1912.01991, sec. 3.2.
    """

    def __init__(self, dim: int, output_dim: int, *, grid: int, layers: int) -> None:
        super().__init__()
        self.grid, cells = grid, grid**2
        self.draws = 3 * cells
        self.patch_head = mlp(dim, dim, output_dim, layers=layers)
        self.head = nn.Linear(cells * output_dim, output_dim)

    def forward(
        self, backbone: Backbone, view: Images, random: Int[Tensor, "batch draws"]
    ) -> Embeddings:
        """Embeddings of the patches together."""
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
    ) -> Float[Tensor, "batch cells channels side side"]:
        """One patch of every cell, row by row, at offsets taken from random numbers.

        Raises:
            ValueError: If the view is too small for the grid.
        """
        cell = view.shape[-1] // self.grid
        side = round(cell * PATCH)
        if side < 1:
            raise ValueError(
                f"grid must be at most the side of a view, {view.shape[-1]} pixels, got {self.grid}"
            )
        across = torch.arange(self.grid, device=view.device) * cell
        free = cell - side + 1
        top = across.repeat_interleave(self.grid) + down % free
        left = across.repeat(self.grid) + right % free
        pixels = torch.arange(side, device=view.device)
        rows = (top[:, :, None] + pixels)[:, :, :, None]
        columns = (left[:, :, None] + pixels)[:, :, None, :]
        batch = torch.arange(len(view), device=view.device)[:, None, None, None]
        return view.movedim(1, 3)[batch, rows, columns].movedim(4, 2)


@final
class Rotation(Pretext):
    """A turn by 0, 90, 180 or 270 degrees.

    Args:
        dim: Dimension of a feature.
        output_dim: Dimension of an embedding.
        layers: Linear layers of the map.

    References:
        Gidaris et al., 2018, arXiv:1803.07728.
    """

    draws = 1

    def __init__(self, dim: int, output_dim: int, *, layers: int) -> None:
        super().__init__()
        self.head = mlp(dim, dim, output_dim, layers=layers)

    def forward(
        self, backbone: Backbone, view: Images, random: Int[Tensor, "batch draws"]
    ) -> Embeddings:
        """Embeddings of the turned views."""
        turns = torch.stack([view.rot90(k, (2, 3)) for k in range(QUARTERS)])
        rows = torch.arange(len(view), device=view.device)
        return self.head(backbone(turns[random[:, 0] % QUARTERS, rows]))
