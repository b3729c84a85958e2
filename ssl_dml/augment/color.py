"""Color jitter of batches of images, each image with its own random factors."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.augment.geometry import uniform
from ssl_dml.checks import at_least, in_range
from ssl_dml.types import Images

LUMINANCE = (0.299, 0.587, 0.114)
# Rows are Y, I and Q of the NTSC system; hue is a rotation of I and Q.
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@final
class ColorJitter(nn.Module):
    """Random brightness, contrast, saturation, hue and grayscale of RGB images, in this order.

    Every step is affine in RGB, so all of them together are one 3×3 matrix and one offset for
    each image, applied in a single pass over the pixels. Three things differ from torchvision:
    the order is fixed, values are clamped to [0, 1] once at the end, and the hue is turned in
    the YIQ plane, which keeps the luminance, instead of in HSV.

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
    """

    luminance: Tensor
    to_yiq: Tensor
    from_yiq: Tensor
    identity: Tensor

    def __init__(
        self,
        *,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        probability: float = 0.8,
        grayscale: float = 0.2,
    ) -> None:
        super().__init__()
        at_least(0, brightness=brightness, contrast=contrast, saturation=saturation)
        in_range(0, 1, hue=hue, jitter=probability, grayscale=grayscale)
        self.strengths = (brightness, contrast, saturation)
        self.hue, self.probability, self.grayscale = hue, probability, grayscale
        to_yiq = torch.tensor(YIQ)
        self.register_buffer("luminance", torch.tensor(LUMINANCE), persistent=False)
        self.register_buffer("to_yiq", to_yiq, persistent=False)
        self.register_buffer("from_yiq", torch.linalg.inv(to_yiq), persistent=False)
        self.register_buffer("identity", torch.eye(3), persistent=False)

    def forward(self, images: Images) -> Images:
        """Jitter every image with random factors of its own."""
        count = len(images)
        on = (uniform(count, 0.0, 1.0, images) < self.probability).float()
        bright, contrast, saturation = (
            1 + on * uniform(count, -strength, strength, images) for strength in self.strengths
        )
        turn = on * uniform(count, -self.hue, self.hue, images)
        gray = uniform(count, 0.0, 1.0, images) < self.grayscale
        saturation = torch.where(gray, torch.zeros_like(saturation), saturation)
        return self.recolor(images, bright, contrast, saturation, turn)

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
        matrix = self._turned(turn) @ self._saturated(saturation)
        gain = (brightness * contrast)[:, None, None]
        mean = images.mean(dim=(2, 3)) @ self.luminance * brightness
        # Both matrices keep gray as it is, so the offset of contrast passes them unchanged.
        offset = (mean * (1 - contrast))[:, None, None]
        flat = torch.baddbmm(offset, matrix * gain, images.flatten(2))
        return flat.view_as(images).clamp_(0, 1)

    def _saturated(self, factor: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
        factor = factor[:, None, None]
        return factor * self.identity + (1 - factor) * self.luminance

    def _turned(self, turn: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3 3"]:
        angle = 2 * math.pi * turn
        cos, sin = angle.cos(), angle.sin()
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rows = [one, zero, zero, zero, cos, -sin, zero, sin, cos]
        rotation = torch.stack(rows, dim=1).view(-1, 3, 3)
        return self.from_yiq @ rotation @ self.to_yiq


@final
class GrayJitter(nn.Module):
    """Random brightness, contrast and gamma, the same in all channels of an image.

    >>> images = torch.full((2, 5, 4, 4), 0.25)
    >>> torch.equal(GrayJitter(brightness=0.0, contrast=0.0)(images), images)
    True

    Args:
        brightness: The factor is uniform in [1 - b, 1 + b].
        contrast: The same, around the image's mean.
        gamma: Values are raised to a power that is log-uniform in [exp(-g), exp(g)]; this applies
            to every image, whatever ``probability`` is.
        probability: Fraction of images whose brightness and contrast change.
    """

    def __init__(
        self,
        *,
        brightness: float = 0.4,
        contrast: float = 0.4,
        gamma: float = 0.0,
        probability: float = 0.8,
    ) -> None:
        super().__init__()
        at_least(0, brightness=brightness, contrast=contrast, gamma=gamma)
        in_range(0, 1, jitter=probability)
        self.brightness, self.contrast, self.gamma = brightness, contrast, gamma
        self.probability = probability

    def forward(self, images: Images) -> Images:
        """Change the light of every image at random; clamp to [0, 1]."""
        count = len(images)
        on = (uniform(count, 0.0, 1.0, images) < self.probability).float()
        bright = 1 + on * uniform(count, -self.brightness, self.brightness, images)
        contrast = 1 + on * uniform(count, -self.contrast, self.contrast, images)
        mean = images.mean(dim=(1, 2, 3)) * bright
        gain, offset = bright * contrast, mean * (1 - contrast)
        shape = (-1, 1, 1, 1)
        lit = torch.addcmul(offset.view(shape), images, gain.view(shape)).clamp_(0, 1)
        if not self.gamma:
            return lit
        power = uniform(count, -self.gamma, self.gamma, images).exp()
        return lit.pow_(power.view(shape))


@final
class ChannelJitter(nn.Module):
    """Multiply each channel of each image by its own random gain, or blank it.

    For images whose channels are not colors: spectral bands, stains, sensors.

    >>> images = torch.tensor([0.0, 0.5]).view(1, 1, 1, 2)
    >>> ChannelJitter(drop=1.0)(images).flatten()  # a blanked channel holds its mean
    tensor([0.2500, 0.2500])

    Args:
        gain: The factor is uniform in [1 - g, 1 + g].
        drop: Probability that a channel is blanked: set to its mean over the image.
    """

    def __init__(self, *, gain: float = 0.3, drop: float = 0.1) -> None:
        super().__init__()
        at_least(0, gain=gain)
        in_range(0, 1, drop=drop)
        self.gain, self.drop = gain, drop

    def forward(self, images: Images) -> Images:
        """Change every channel at random; clamp to [0, 1]."""
        count = images.shape[0] * images.shape[1]
        shape = (*images.shape[:2], 1, 1)
        gain = 1 + uniform(count, -self.gain, self.gain, images).view(shape)
        dropped = (uniform(count, 0.0, 1.0, images) < self.drop).view(shape)
        mean = images.mean(dim=(2, 3), keepdim=True)
        return torch.where(dropped, mean, images * gain).clamp_(0, 1)
