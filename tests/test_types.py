import pytest
import torch

from ssl_dml.types import EmbeddingTable, ImageSpec


def test_a_spec_needs_a_value_for_each_channel():
    with pytest.raises(ValueError, match="one value for each of 3 channels, got 1 and 1"):
        ImageSpec(channels=3, size=8, mean=(0.5,), std=(0.5,))
    with pytest.raises(ValueError, match="std must be positive"):
        ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.0,))


def test_a_table_needs_a_label_for_each_row():
    EmbeddingTable(embeddings=torch.zeros(2, 3), labels=torch.zeros(2, dtype=torch.long))
    with pytest.raises(Exception, match="rows"):
        EmbeddingTable(embeddings=torch.zeros(2, 3), labels=torch.zeros(3, dtype=torch.long))
