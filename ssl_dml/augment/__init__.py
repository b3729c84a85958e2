"""Random views of images and sequences, made in batches on the device."""

from ssl_dml.augment.color import ChannelJitter, ColorJitter, GrayJitter
from ssl_dml.augment.geometry import CropFlip
from ssl_dml.augment.normalize import Normalize
from ssl_dml.augment.recipes import Auto, Color, FineTune, Gray, ManyChannel
from ssl_dml.augment.sequence import SequenceViews
from ssl_dml.augment.shape import unsquash
from ssl_dml.augment.views import Augmentation, Crops, ImageViews

__all__ = [
    "Augmentation",
    "Auto",
    "ChannelJitter",
    "Color",
    "ColorJitter",
    "CropFlip",
    "Crops",
    "FineTune",
    "Gray",
    "GrayJitter",
    "ImageViews",
    "ManyChannel",
    "Normalize",
    "SequenceViews",
    "unsquash",
]
