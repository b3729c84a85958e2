"""Optimizers on tables; tests of class weights compare their steps with rows kept by hand."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.memory import RowTable
from ssl_dml.training import gradient_norm, train_open_rows


def model():
    return nn.ModuleDict(
        {"table": RowTable(20, (3,), std=1.0, sharded=True), "out": nn.Linear(3, 2)}
    )


def backward(made, rows):
    opened = made["table"].open(rows)
    made["out"](opened).square().sum().backward()


def test_the_norm_is_that_of_all_gradients():
    made = model()
    backward(made, torch.tensor([1, 4]))
    squares = sum(p.grad.square().sum() for p in made.parameters())
    assert_close(gradient_norm(made), squares.sqrt())


def test_the_norm_is_on_the_model_s_device_where_a_split_table_alone_trains():
    made = nn.ModuleDict({"table": RowTable(20, (3,), std=1.0, sharded=True)}).to("meta")
    made["table"].window.grad = torch.empty(0, 3, device="meta")
    assert gradient_norm(made).device.type == "meta"


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda ps: torch.optim.RMSprop(ps, lr=0.1, momentum=0.5),
        lambda ps: torch.optim.Adam(ps, lr=0.1, amsgrad=True),
        lambda ps: torch.optim.NAdam(ps, lr=0.1),
    ],
)
def test_other_optimizers_leave_closed_rows_too(optimizer):
    made = model()
    steps = optimizer(made.parameters())
    train_open_rows(made, steps)
    before = made["table"].weight.clone()
    for rows in ([0, 1], [1, 2], [5]):
        steps.zero_grad()
        backward(made, torch.tensor(rows))
        steps.step()
    moved = (made["table"].weight != before).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == [0, 1, 2, 5]


def test_a_model_without_tables_has_a_plain_optimizer():
    network = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    train_open_rows(network, optimizer)
    assert not optimizer._optimizer_step_pre_hooks


def test_an_optimizer_that_knows_rows_beforehand_is_refused():
    made = model()
    optimizer = torch.optim.Adagrad(made.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimizer Adagrad keeps numbers of rows before"):
        train_open_rows(made, optimizer)
