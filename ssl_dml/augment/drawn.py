"""The base of this package's kornia operators: one pass, and only drawn samples change."""

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from ssl_dml.types import Images


class DrawnOperator(IntensityAugmentationBase2D):
    """An operator of kornia that writes drawn and other samples at once, and never waits.

    It stands beside kornia's own operators in ``AugmentationSequential``, keeps what it drew in
    ``_params`` and takes it again with ``forward(images, params=...)``. A stock operator makes
    two results and chooses; here a sample that is not drawn has parameters that change nothing.

    Random numbers come from torch's generator of the host, whatever the device of the images, so
    a seed means the same views on each. Only what the pixels need is then copied to the device.
    An operator of your own has ``generate_parameters`` and ``change``.

    >>> from ssl_dml.augment.solarize import Solarize
    >>> issubclass(Solarize, DrawnOperator)
    True

    Args:
        probability: Fraction of samples that are drawn, in [0, 1].
    """

    def __init__(self, *, probability: float) -> None:
        super().__init__(p=probability)

    def set_rng_device_and_dtype(self, device: torch.device, dtype: torch.dtype) -> None:
        """Stay with the host's generator when the module moves; kornia calls this."""
        del device, dtype
        super().set_rng_device_and_dtype(torch.device("cpu"), torch.float32)

    @abstractmethod
    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Return the images, of which the drawn ones are changed.

        Args:
            images: Values from 0 to 1.
            drawn: Which samples change, on the host unless the parameters are not.
            params: What was drawn for each sample, likewise; see :func:`beside`.
        """

    def transform_inputs(
        self,
        input: Float[Tensor, "..."],
        params: dict[str, Any],
        flags: dict[str, Any],
        transform: Tensor | None = None,
        **kwargs: object,
    ) -> Float[Tensor, "..."]:
        """Change images by what was drawn; kornia calls this."""
        del transform
        params, _ = self._process_kwargs_to_params_and_flags(params, flags, **kwargs)
        images = self.transform_tensor(input)
        self.validate_tensor(images)
        drawn = params["batch_prob"] > 0.5  # noqa: PLR2004
        if self.p == 1:  # as with stock operators, it outvotes what is in ``params``
            drawn = torch.ones_like(drawn)
        return self.change(images, drawn, params).to(images.dtype)


def beside(images: Images, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Copy values to where images are, in their precision, without waiting.

    >>> beside(torch.zeros(2, 3, 4, 4, dtype=torch.float16), torch.ones(2)).dtype
    torch.float16
    """
    return values.to(images.device, images.dtype, non_blocking=True)


def per_image(images: Images, values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 1 1"]:
    """One number for each image, to be combined with its pixels."""
    return beside(images, values)[:, None, None, None]


def chosen(images: Images, drawn: Bool[Tensor, " batch"], changed: Images) -> Images:
    """Take drawn images from ``changed``, the others from ``images``."""
    there = drawn.to(images.device, non_blocking=True)[:, None, None, None]
    return torch.where(there, changed.to(images.dtype), images)


def uniform(
    count: int, low: float, high: float, like: Tensor | None = None
) -> Float[Tensor, "{count}"]:
    """Draw numbers by torch's generator of the host, or of the device of ``like``.

    >>> uniform(2, 1.0, 1.0)
    tensor([1., 1.])
    """
    device = None if like is None else like.device
    return torch.rand(count, device=device) * (high - low) + low
