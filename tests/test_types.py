import pytest
import torch

from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ImageSpec, as_floats


def test_a_spec_needs_a_value_for_each_channel():
    with pytest.raises(ValueError, match="one value for each of 3 channels, got 1 and 1"):
        ImageSpec(channels=3, size=8, mean=(0.5,), std=(0.5,))
    with pytest.raises(ValueError, match="std must be positive"):
        ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.0,))


def test_stored_samples_become_floats_of_which_one_is_full_scale():
    rows = torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)
    assert torch.equal(as_floats(rows), torch.tensor([[[0.0, 0.2, 1.0]]]))
    rows = torch.tensor([[[0, 8192, -32768]]], dtype=torch.int16)
    assert torch.equal(as_floats(rows), torch.tensor([[[0.0, 0.25, -1.0]]]))
    rows = torch.tensor([[[7.0, -1e9]]])
    assert as_floats(rows) is rows


def test_a_table_needs_a_label_for_each_row():
    EmbeddingTable(embeddings=torch.zeros(2, 3), labels=torch.zeros(2, dtype=torch.long))
    with pytest.raises(Exception, match="rows"):
        EmbeddingTable(embeddings=torch.zeros(2, 3), labels=torch.zeros(3, dtype=torch.long))


def test_a_size_is_a_side_or_height_and_width():
    given = {"channels": 1, "mean": (0.5,), "std": (0.5,)}
    square, tall = ImageSpec(**given, size=(8, 8)), ImageSpec(**given, size=(8, 4))
    assert (square.size, square.sides) == (8, (8, 8))
    assert (tall.size, tall.sides) == ((8, 4), (8, 4))
    assert square == ImageSpec(**given, size=8)
    assert ImageSpec(**given, size=8).test_view == "center"
