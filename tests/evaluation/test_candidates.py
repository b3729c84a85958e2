"""Candidates: what is a copy is among them."""

import pytest
import torch
from torch.nn import functional as F

from ssl_dml.evaluation.aligned import warped
from ssl_dml.evaluation.candidates import best_ways, candidates, reduced, ways


def images(count, side=32):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 7, 7, generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


def test_ways_move_images_as_they_say():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    mirrored = ways()[len(ways()) // 2]
    assert torch.equal(warped(image, mirrored), image.flip(3))
    assert torch.equal(warped(image, ways()[0]), image)


def test_a_copy_changed_in_each_way_is_a_candidate_and_its_way_is_told():
    some, every = images(120), ways()
    copies = torch.cat([warped(some[i : i + 1], way) for i, way in enumerate(every)])
    found = candidates(torch.cat([some, copies]))
    told = dict(zip(map(tuple, found.pairs.tolist()), found.ways.tolist(), strict=True))
    assert [told.get((i, 120 + i)) for i in range(len(every))] == list(range(len(every)))
    assert best_ways(some[: len(every)], copies).tolist() == list(range(len(every)))
    assert found.pairs[:, 0].bincount().max() <= 6
    assert (found.pairs[:, 0] != found.pairs[:, 1]).all()


def test_images_are_reduced_to_at_most_32_pixels():
    large = images(2, side=64)
    assert torch.equal(reduced(large), F.avg_pool2d(large, 2))
    assert reduced(images(2)).shape[-1] == 32


@pytest.mark.parametrize("count", [2, 5])
def test_few_images_have_as_many_candidates_as_there_are_others(count):
    found = candidates(images(count))
    assert len(found.pairs) <= count * (count - 1)
