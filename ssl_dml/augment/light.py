"""Light of batches of images: brightness, contrast, gamma, and gains of channels."""

import math
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, beside, per_image, uniform
from ssl_dml.checks import at_least, in_range
from ssl_dml.types import Images


@final
class GrayJitter(DrawnOperator):
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
        at_least(0, brightness=brightness, contrast=contrast, gamma=gamma)
        in_range(0, 1, jitter=probability)
        super().__init__(probability=probability)
        self.brightness, self.contrast, self.gamma = brightness, contrast, gamma

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the factors and the power of every image."""
        count = batch_shape[0]
        drawn = {
            "brightness_factor": 1 + uniform(count, -self.brightness, self.brightness),
            "contrast_factor": 1 + uniform(count, -self.contrast, self.contrast),
        }
        if self.gamma:
            drawn["gamma_factor"] = uniform(count, -self.gamma, self.gamma).exp()
        return drawn

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Change the light of the drawn images, and the gamma of all; clamp to [0, 1]."""
        bright = torch.where(drawn, params["brightness_factor"], 1.0)
        contrast = torch.where(drawn, params["contrast_factor"], 1.0)
        gain = per_image(images, bright * contrast)
        share = per_image(images, bright * (1 - contrast))
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        lit = torch.addcmul(mean * share, images, gain).clamp_(0, 1)
        if "gamma_factor" not in params:
            return lit
        return lit.pow_(per_image(images, params["gamma_factor"]))


@final
class ChannelJitter(DrawnOperator):
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
        at_least(0, gain=gain)
        in_range(0, 1, drop=drop)
        super().__init__(probability=1.0)
        self.gain, self.drop = gain, drop

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the gain of every channel, and whether it is blanked."""
        shape = (batch_shape[0], batch_shape[1])
        count = math.prod(shape)
        gain = 1 + uniform(count, -self.gain, self.gain)
        dropped = uniform(count, 0.0, 1.0) < self.drop
        return {"gain_factor": gain.view(shape), "dropped": dropped.view(shape)}

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Change every channel at random; clamp to [0, 1]."""
        del drawn  # all are
        # A blanked channel has gain 0, and its mean in place of an offset of 0.
        dropped = params["dropped"]
        gain = beside(images, torch.where(dropped, 0.0, params["gain_factor"]))
        share = beside(images, dropped.float())
        mean = images.mean(dim=(2, 3)) * share
        return torch.addcmul(mean[:, :, None, None], images, gain[:, :, None, None]).clamp_(0, 1)
