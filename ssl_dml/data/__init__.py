"""Data sets: open a source, decode it, split it by label, cut it into batches."""

from ssl_dml.data.config import DataConfig
from ssl_dml.data.dataset import SampleSet, epochs, load_test, load_train, make_loader

__all__ = ["DataConfig", "SampleSet", "epochs", "load_test", "load_train", "make_loader"]
