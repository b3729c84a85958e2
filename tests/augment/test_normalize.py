import torch
from torch.testing import assert_close

from ssl_dml.augment import Normalize


def test_matches_the_definition(colour):
    images = torch.rand(2, 3, 4, 4)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (colour.mean, colour.std))
    assert_close(Normalize(colour)(images), (images - mean) / std)


def test_constants_stay_out_of_checkpoints(colour):
    assert not Normalize(colour).state_dict()


def test_takes_bytes_and_floats_alike(gray):
    batch = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    assert Normalize(gray)(batch).flatten().tolist() == [-2.0, 2.0]
    assert torch.equal(Normalize(gray)(batch), Normalize(gray)(batch.float() / 255))
