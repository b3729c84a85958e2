import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import Backbone
from ssl_dml.methods.pretexts import Jigsaw, Rotation


class Mean(Backbone):
    """Mean and corner of each image."""

    feature_dim = 2

    def forward(self, samples):
        return torch.stack([samples.mean((1, 2, 3)), samples[:, 0, 0, 0]], dim=1)


def passed_on(head):
    """What reaches a head's last map."""
    head.head = nn.Identity()
    return head


def test_patches_lie_where_the_numbers_say():
    """A 12 pixel view in a 3 by 3 grid: cells of 4 pixels, patches of 3, offsets 0 or 1."""
    view = torch.randn(2, 3, 12, 12)
    down, right = torch.randint(100, (2, 2, 9)).unbind()
    patches = Jigsaw(2, 4, grid=3, layers=1).patches(view, down, right)
    assert patches.shape == (2, 9, 3, 3, 3)
    for sample in range(2):
        for cell in range(9):
            top = cell // 3 * 4 + int(down[sample, cell]) % 2
            left = cell % 3 * 4 + int(right[sample, cell]) % 2
            expected = view[sample, :, top : top + 3, left : left + 3]
            assert torch.equal(patches[sample, cell], expected)


def test_patches_of_the_paper_have_64_pixels_of_85_and_22_places():
    view = torch.arange(255.0).expand(1, 1, 255, 255)
    seen = set()
    for number in range(44):
        down = right = torch.full((1, 9), number)
        patches = Jigsaw(2, 4, grid=3, layers=1).patches(view, down, right)
        assert patches.shape[-1] == 64
        seen.add(patches[0, 1, 0, 0, 0].item())
    assert seen == set(range(85, 107))


def test_the_order_is_that_of_the_third_numbers():
    view = torch.arange(9.0).view(1, 1, 3, 3)
    jigsaw = passed_on(Jigsaw(2, 4, grid=3, layers=1))
    jigsaw.patch_head = nn.Identity()
    order = torch.tensor([5, 2, 8, 0, 7, 3, 1, 6, 4])
    random = torch.cat([torch.zeros(18, dtype=torch.long), order])[None]
    rows = jigsaw(Mean(), view, random).view(9, 2)
    expected = sorted(range(9), key=lambda cell: order[cell])
    assert rows[:, 0].tolist() == expected


def test_every_patch_is_encoded_by_itself():
    seen = []

    class Watching(Mean):
        def forward(self, samples):
            seen.append(samples.shape)
            return super().forward(samples)

    jigsaw = Jigsaw(2, 5, grid=2, layers=1)
    rows = jigsaw(Watching(), torch.randn(3, 1, 10, 10), torch.randint(2**40, (3, jigsaw.draws)))
    assert rows.shape == (3, 5)
    assert seen == [(12, 1, 4, 4)]


def test_a_grid_finer_than_the_view_is_refused():
    with pytest.raises(ValueError, match="grid must be at most the side of a view, 2 pixels"):
        Jigsaw(2, 4, grid=3, layers=1)(
            Mean(), torch.zeros(1, 1, 2, 2), torch.zeros(1, 27, dtype=torch.long)
        )


def test_rotation_turns_by_quarters():
    views = torch.randn(5, 2, 4, 4)
    rotation = passed_on(Rotation(2, 4, layers=1))
    rows = rotation(Mean(), views, torch.tensor([[0], [1], [2], [3], [6]]))
    corners = [views[0, 0, 0, 0], views[1, 0, 0, 3], views[2, 0, 3, 3], views[3, 0, 3, 0]]
    assert_close(rows[:, 1], torch.stack([*corners, views[4, 0, 3, 3]]))
