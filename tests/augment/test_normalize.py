import torch
from torch.testing import assert_close

from ssl_dml.augment import Normalize
from ssl_dml.types import SequenceSpec


def test_matches_the_definition(color):
    images = torch.rand(2, 3, 4, 4)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (color.mean, color.std))
    assert_close(Normalize(color)(images), (images - mean) / std)


def test_constants_stay_out_of_checkpoints(color):
    assert not Normalize(color).state_dict()


def test_sequences_have_their_own_constants_and_scale(audio):
    batch = torch.tensor([[[0, 16384, -32768]]], dtype=torch.int16)
    assert Normalize(audio)(batch).flatten().tolist() == [0.0, 2.0, -4.0]
    two = SequenceSpec(channels=2, length=3, mean=(1.0, 2.0), std=(1.0, 4.0))
    rows = torch.tensor([[[1.0, 2.0, 3.0], [2.0, 6.0, 10.0]]])
    assert Normalize(two)(rows).tolist() == [[[0.0, 1.0, 2.0]] * 2]


def test_takes_bytes_and_floats_alike(gray):
    batch = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    assert Normalize(gray)(batch).flatten().tolist() == [-2.0, 2.0]
    assert torch.equal(Normalize(gray)(batch), Normalize(gray)(batch.float() / 255))
