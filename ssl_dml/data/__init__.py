"""Where samples come from: sources, the decoded store, samplers."""

from ssl_dml.data.dataset import DataConfig, SampleSet, load_test, load_train, make_loader

__all__ = ["DataConfig", "SampleSet", "load_test", "load_train", "make_loader"]
