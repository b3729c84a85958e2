"""Random views of images and sequences, made in batches on the device."""

from ssl_dml.augment.blur import GaussianBlur
from ssl_dml.augment.color import ColorJitter
from ssl_dml.augment.drawn import DrawnOperator
from ssl_dml.augment.erase import Erase
from ssl_dml.augment.geometry import CropFlip
from ssl_dml.augment.jpeg import JPEG
from ssl_dml.augment.light import ChannelJitter, GrayJitter
from ssl_dml.augment.normalize import Normalize
from ssl_dml.augment.recipes import Auto, Color, FineTune, Gray, ManyChannel
from ssl_dml.augment.sequence import SequenceViews
from ssl_dml.augment.shape import unsquash
from ssl_dml.augment.solarize import Solarize
from ssl_dml.augment.views import Augmentation, Crops, ImageViews

__all__ = [
    "JPEG",
    "Augmentation",
    "Auto",
    "ChannelJitter",
    "Color",
    "ColorJitter",
    "CropFlip",
    "Crops",
    "DrawnOperator",
    "Erase",
    "FineTune",
    "GaussianBlur",
    "Gray",
    "GrayJitter",
    "ImageViews",
    "ManyChannel",
    "Normalize",
    "SequenceViews",
    "Solarize",
    "unsquash",
]
