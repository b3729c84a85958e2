import kornia.augmentation as K
import pytest
import torch

from ssl_dml.augment.erase import Erase


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (32, 32)])
@pytest.mark.parametrize("ratio", [(0.3, 3.3), (1.0, 1.0), (1.0, 4.0)])
def test_equals_the_stock_operator_and_draws_as_it_does(size, ratio):
    images = torch.rand(64, 2, *size)
    theirs = K.RandomErasing((0.05, 0.9), ratio, value=0.25, p=0.5)
    ours = Erase(scale=(0.05, 0.9), ratio=ratio, value=0.25)
    torch.manual_seed(2)
    expected = theirs(images)
    torch.manual_seed(2)
    assert torch.equal(ours(images), expected)
    assert torch.equal(ours(images, params=theirs._params), expected)


def test_cut_out_is_a_square_inside_the_image():
    made = Erase(scale=(0.25, 0.25), ratio=(1.0, 1.0), value=0.5, probability=1.0)
    holes = made(torch.zeros(50, 1, 16, 16)) == 0.5
    assert (holes.flatten(1).sum(1) == 64).all()
    assert (holes.any(2).flatten(1).sum(1) == 8).all()
    assert (holes.any(3).flatten(1).sum(1) == 8).all()


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match=r"erase: ratio must be a rising range above 0, got"):
        Erase(ratio=(2.0, 1.0))
    with pytest.raises(ValueError, match=r"scale must be from 0 to 1, got 1\.5"):
        Erase(scale=(1.5, 2.0))
