"""Random views of images and sequences, made in batches on the device."""

from ssl_dml.augment.normalize import Normalize
from ssl_dml.augment.recipes import Augmentation, Auto, Color, Crops, FineTune, Gray, ManyChannel
from ssl_dml.augment.sequence import SequenceViews

__all__ = [
    "Augmentation",
    "Auto",
    "Color",
    "Crops",
    "FineTune",
    "Gray",
    "ManyChannel",
    "Normalize",
    "SequenceViews",
]
