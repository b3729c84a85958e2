"""Where samples come from: sources, the decoded store, samplers."""

from ssl_dml.data.images import DataConfig, ImageSet, load_images, load_test_images, make_loader

__all__ = ["DataConfig", "ImageSet", "load_images", "load_test_images", "make_loader"]
