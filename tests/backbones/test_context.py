import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones.context import CausalTransformer, GridContext, RecurrentContext, rotate


@pytest.fixture(params=["gru", "transformer"])
def network(request):
    if request.param == "gru":
        return RecurrentContext(6, 8, layers=2).double()
    return CausalTransformer(6, 8, layers=2, heads=2).double()


@pytest.mark.parametrize("time", [1, 2, 7])
def test_the_context_of_a_step_is_that_of_the_sequence_cut_there(network, time):
    latents = torch.randn(3, 7, 6, dtype=torch.float64)
    assert_close(network(latents)[:, :time], network(latents[:, :time]))


def test_every_step_that_came_before_is_seen(network):
    latents = torch.randn(1, 7, 6, dtype=torch.float64, requires_grad=True)
    network(latents)[0, 4].pow(3).sum().backward()
    reached = latents.grad[0].abs().sum(dim=1) > 0
    assert reached.tolist() == [True] * 5 + [False] * 2


def test_gradient(network):
    latents = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, latents)


def test_rotation_by_hand():
    """The first pair turns by one radian a step, the second by a hundredth of one."""
    turned = rotate(torch.tensor([1.0, 0.0, 0.0, 1.0]).expand(1, 1, 3, 4))[0, 0]
    expected = [[math.cos(t), -math.sin(t / 100), math.sin(t), math.cos(t / 100)] for t in range(3)]
    assert_close(turned, torch.tensor(expected))


def test_products_of_rotated_rows_depend_on_their_distance():
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64).expand(-1, -1, -1, 6, -1)
    products = rotate(query)[0, 0] @ rotate(key)[0, 0].T
    for distance in range(-5, 6):
        diagonal = products.diagonal(distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a multiple of twice heads, got 10 for 2"):
        CausalTransformer(6, 10, layers=1, heads=2)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("cell", [(0, 0), (2, 3), (5, 6)])
def test_a_grid_context_sees_what_it_says(blocks, cell):
    grid = torch.randn(1, 6, 7, 4, dtype=torch.float64, requires_grad=True)
    network = GridContext(4, hidden_dim=16, blocks=blocks).double()
    network(grid)[0, cell[0], cell[1]].pow(3).sum().backward()
    rows, cols = torch.meshgrid(torch.arange(6), torch.arange(7), indexing="ij")
    above = cell[0] - rows
    visible = (above >= 0) & (above <= blocks) & ((cols - cell[1]).abs() <= blocks)
    assert_close(grid.grad[0].abs().sum(dim=2) > 0, visible)


def test_rows_below_leave_a_grid_context_as_it_is_to_the_bit():
    grid, network = torch.randn(2, 6, 5, 8), GridContext(8, hidden_dim=16, blocks=3)
    before = network(grid)
    grid[:, 4:] = 1e6 * torch.randn(2, 2, 5, 8)
    after = network(grid)
    assert torch.equal(after[:, :4], before[:, :4])
    assert not torch.equal(after[:, 4:], before[:, 4:])


def test_no_blocks_are_refused():
    with pytest.raises(ValueError, match="context_blocks must be at least 1, got 0"):
        GridContext(4, hidden_dim=4, blocks=0)
