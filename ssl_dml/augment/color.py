"""Color jitter of batches of images, each image with its own random factors."""

import math
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, beside, chosen, uniform
from ssl_dml.augment.hue import turn_hue
from ssl_dml.checks import at_least, in_range
from ssl_dml.types import Images

LUMINANCE = (0.299, 0.587, 0.114)
# Rows are Y, I and Q of the NTSC system; hue is a rotation of I and Q.
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
FACTORS = ("brightness_factor", "contrast_factor", "saturation_factor")


@final
class ColorJitter(DrawnOperator):
    """Random brightness, contrast, saturation, hue and grayscale of RGB images.

    Every step is affine in RGB, so all of them together are one 3×3 matrix and one offset for
    each image, applied in a single pass over the pixels. Without clamping every order of the
    steps gives the same, so none is drawn. Values are clamped to [0, 1] once, at the end, where
    kornia's ``ColorJitter`` clamps after each step; else it is equal, hue aside. The hue is turned
    in the YIQ plane, which keeps the luminance; with ``exact_hue`` it is turned in HSV as kornia
    does, after the steps above it and before grayscale, which takes more passes.

    >>> ColorJitter()(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 3, 8, 8])

    Args:
        brightness: The factor is uniform in [1 - b, 1 + b].
        contrast: The same, around the image's mean luminance.
        saturation: The same, around each pixel's luminance.
        hue: The hue turns by an angle uniform in plus and minus this, as a fraction of the color
            circle; 0.5 is the opposite color.
        probability: Fraction of images that are jittered.
        grayscale: Fraction of images that become gray, whether they are jittered or not.
        exact_hue: Turn the hue in HSV.
    """

    luminance: Tensor

    def __init__(
        self,
        *,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        probability: float = 0.8,
        grayscale: float = 0.2,
        exact_hue: bool = False,
    ) -> None:
        at_least(0, brightness=brightness, contrast=contrast, saturation=saturation)
        in_range(0, 1, hue=hue, jitter=probability, grayscale=grayscale)
        super().__init__(probability=probability)
        self.strengths = (brightness, contrast, saturation)
        self.hue, self.grayscale, self.exact_hue = hue, grayscale, exact_hue
        self.register_buffer("luminance", torch.tensor(LUMINANCE), persistent=False)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the factors of every image, and whether it becomes gray."""
        count = batch_shape[0]
        drawn = {
            name: 1 + uniform(count, -strength, strength)
            for name, strength in zip(FACTORS, self.strengths, strict=True)
        }
        drawn["hue_factor"] = uniform(count, -self.hue, self.hue)
        drawn["gray"] = uniform(count, 0.0, 1.0) < self.grayscale
        return drawn

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Jitter the drawn images, and gray those that become gray."""
        bright, contrast, saturation = (
            torch.where(drawn, params[name].float(), 1.0) for name in FACTORS
        )
        turn = torch.where(drawn, params["hue_factor"].float(), 0.0)
        gray = params.get("gray", torch.zeros_like(drawn))  # stock operators draw none
        if not self.exact_hue:
            saturation = torch.where(gray, 0.0, saturation)
            return self.recolor(images, bright, contrast, saturation, turn)
        color = chosen(images, drawn, self.recolor(images, bright, contrast, saturation, turn))
        luma = torch.einsum("c,bchw->bhw", self.luminance.to(images.dtype), color)[:, None]
        return chosen(color, gray, luma.expand_as(color))

    def recolor(
        self,
        images: Images,
        brightness: Float[Tensor, " batch"],
        contrast: Float[Tensor, " batch"],
        saturation: Float[Tensor, " batch"],
        turn: Float[Tensor, " batch"],
    ) -> Images:
        """Change the color of each image by the given factors; (1, 1, 1, 0) changes nothing.

        >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> ColorJitter().recolor(red, one, one, zero, zero).flatten()  # no saturation is gray
        tensor([0.2990, 0.2990, 0.2990])
        """
        matrix = _saturated(saturation)
        if not self.exact_hue:
            matrix = _turned(turn) @ matrix
        matrix = matrix * (brightness * contrast)[:, None, None]
        # All matrices keep gray as it is, so the offset of contrast passes them unchanged.
        share = brightness * (1 - contrast)
        mixed = beside(images, torch.cat([matrix, share[:, None, None].expand(-1, 3, 1)], dim=2))
        mean = (images.mean(dim=(2, 3)) @ self.luminance.to(images.dtype))[:, None, None]
        flat = torch.baddbmm(mixed[:, :, 3:] * mean, mixed[:, :, :3], images.flatten(2))
        lit = flat.view_as(images).clamp_(0, 1)
        return turn_hue(lit, turn) if self.exact_hue else lit


def _saturated(factor: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    factor = factor[:, None, None]
    luminance = torch.tensor(LUMINANCE, device=factor.device)
    return factor * torch.eye(3, device=factor.device) + (1 - factor) * luminance


def _turned(turn: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
    angle = 2 * math.pi * turn
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = [one, zero, zero, zero, cos, -sin, zero, sin, cos]
    rotation = torch.stack(rows, dim=1).view(-1, 3, 3)
    to_yiq = torch.tensor(YIQ, device=turn.device)
    turned = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
    # Rounding would change what is not turned.
    return torch.where(turn[:, None, None] == 0, torch.eye(3, device=turn.device), turned)
