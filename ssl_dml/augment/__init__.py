"""Random views of pictures, made in batches on the device."""

from ssl_dml.augment.normalize import Normalize
from ssl_dml.augment.recipes import Augmentation, Auto, Colour, Crops, FineTune, Gray, ManyChannel

__all__ = [
    "Augmentation",
    "Auto",
    "Colour",
    "Crops",
    "FineTune",
    "Gray",
    "ManyChannel",
    "Normalize",
]
