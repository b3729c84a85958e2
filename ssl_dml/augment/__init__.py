"""Random views of pictures and sequences, made in batches on the device."""

from ssl_dml.augment.normalize import Normalize
from ssl_dml.augment.recipes import Augmentation, Auto, Colour, Crops, FineTune, Gray, ManyChannel
from ssl_dml.augment.sequence import SequenceViews

__all__ = [
    "Augmentation",
    "Auto",
    "Colour",
    "Crops",
    "FineTune",
    "Gray",
    "ManyChannel",
    "Normalize",
    "SequenceViews",
]
