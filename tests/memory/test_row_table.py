import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.memory import RowTable, names_in_tables


def test_starts_with_normal_draws_of_the_given_size():
    table = RowTable(5000, (2, 3), std=0.01, sharded=False)
    assert table.weight.shape == (5000, 2, 3)
    assert_close(table.weight.std().item(), 0.01, rtol=0.02, atol=0)
    assert len(table) == 5000


def test_gradient_comes_to_the_window_and_not_to_the_table():
    table = RowTable(6, (2,), std=1.0, sharded=False)
    rows = torch.tensor([4, 1])
    opened = table.open(rows)
    assert torch.equal(opened, table.weight[rows])
    (opened * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert table.window.grad.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert torch.equal(table.window.detach(), table.weight[rows])
    with pytest.raises(ValueError, match=r"set train\.accumulation to 1"):
        table.open(rows)


def test_an_earlier_graph_may_still_be_alive():
    table = RowTable(6, (2,), std=1.0, sharded=False)
    kept = []
    for rows in ([0, 1, 2], [3], [0, 5]):
        table.window.grad = None
        loss = table.open(torch.tensor(rows)).square().sum()
        loss.backward()
        kept.append(loss)
        assert table.window.grad.shape == (len(rows), 2)


def test_all_rows_are_opened_without_a_copy():
    table = RowTable(6, (2,), std=1.0, sharded=False)
    assert table.open(None).data_ptr() == table.weight.data_ptr()


def test_its_state_is_its_rows_and_what_was_kept_of_them():
    first = RowTable(6, (2,), std=1.0, sharded=False)
    first.open(torch.tensor([2])).sum().backward()
    state = {"step": torch.tensor(1.0)}
    first.lend(state)
    state["moment"] = torch.tensor([[7.0, 8.0]])
    first.window.data.add_(1)
    first.take_back(state)
    assert {*state} == {"step"}
    assert {*first.state_dict()} == {"weight", "state_moment"}
    second = RowTable(6, (2,), std=1.0, sharded=False)
    second.load_state_dict(first.state_dict())
    assert_close(second.state_dict(), first.state_dict())
    assert second.state_moment[2].tolist() == [7.0, 8.0]


def test_names_what_distributed_data_parallel_leaves_alone():
    model = nn.ModuleDict(
        {"head": nn.ModuleDict({"table": RowTable(4, (2,), std=1.0, sharded=True)})}
    )
    assert names_in_tables(model) == ["head.table.window", "head.table.weight"]
    assert names_in_tables(model["head"]["table"]) == ["window", "weight"]
