"""Partial FC; tests of MarginSoftmax compare its steps with rows kept by hand."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.memory import PartialFC, attach_partial_fc, ddp_ignored_names, gradient_norm


def sampled(size=6, shape=(2,), *, sharded=False):
    """Class weights that are attached to an optimizer."""
    layer = PartialFC(size, shape, std=1.0, sampled=True, sharded=sharded)
    attach_partial_fc(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    return layer


def model():
    layer = PartialFC(20, (3,), std=1.0, sampled=True, sharded=True)
    return nn.ModuleDict({"classes": layer, "out": nn.Linear(3, 2)})


def backward(made, rows):
    made["out"](made["classes"](rows)).square().sum().backward()


@pytest.mark.parametrize("how", [{"sampled": False}, {"sampled": True}])
def test_starts_with_normal_values_of_the_given_size(how):
    layer = PartialFC(5000, (2, 3), std=0.01, sharded=False, **how)
    assert layer.weight.shape == (5000, 2, 3)
    assert_close(layer.weight.std().item(), 0.01, rtol=0.02, atol=0)
    assert len(layer) == 5000


def test_whole_class_weights_are_a_parameter_like_any():
    layer = PartialFC(6, (2,), std=1.0, sampled=False, sharded=False)
    optimizer = torch.optim.Adagrad(layer.parameters(), lr=0.1)
    attach_partial_fc(layer, optimizer)
    assert list(layer.parameters()) == [layer.weight] == [layer(None)]
    assert not optimizer._optimizer_step_pre_hooks
    assert {*layer.state_dict()} == {"weight"}
    assert ddp_ignored_names(layer) == []


def test_gradient_comes_to_the_active_rows_alone():
    layer = sampled()
    rows = torch.tensor([4, 1])
    active = layer(rows)
    assert torch.equal(active, layer.weight[rows])
    (active * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert layer.active.grad.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert torch.equal(layer.active.detach(), layer.weight[rows])
    with pytest.raises(ValueError, match=r"set train\.accumulation to 1"):
        layer(rows)


@pytest.mark.parametrize(
    ("how", "rows", "verb"),
    [
        ({"sampled": True, "sharded": False}, torch.tensor([0, 2]), "samples"),
        ({"sampled": False, "sharded": True}, None, "splits"),
    ],
)
def test_without_an_optimizer_the_backward_pass_names_the_call_that_attaches_one(how, rows, verb):
    layer = PartialFC(6, (2,), std=1.0, **how)
    loss = layer(rows).sum()
    words = rf"MarginSoftmax {verb} its class weights.* call ssl_dml\.heads\.attach_partial_fc"
    with pytest.raises(ValueError, match=words):
        loss.backward()
    attach_partial_fc(layer, torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
    with pytest.raises(ValueError, match=words):  # that optimizer has other parameters
        layer(rows).sum().backward()
    attach_partial_fc(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    layer(rows).sum().backward()
    with pytest.raises(ValueError, match=words):
        copied = copy.deepcopy(layer)
        copied.zero_grad()
        copied(rows).sum().backward()


def test_an_earlier_graph_may_still_be_alive():
    layer = sampled()
    kept = []
    for rows in ([0, 1, 2], [3], [0, 5]):
        layer.active.grad = None
        loss = layer(torch.tensor(rows)).square().sum()
        loss.backward()
        kept.append(loss)
        assert layer.active.grad.shape == (len(rows), 2)


@pytest.mark.parametrize("sharded", [False, True])
def test_all_rows_are_taken_without_a_copy(sharded):
    layer = PartialFC(6, (2,), std=1.0, sampled=False, sharded=sharded)
    assert layer(None).data_ptr() == layer.weight.data_ptr()


def test_its_state_is_its_rows_and_what_the_optimizer_keeps_of_them():
    def build():
        layer = PartialFC(6, (2,), std=1.0, sampled=True, sharded=False)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        attach_partial_fc(layer, optimizer)
        return layer, optimizer

    first, optimizer = build()
    (first(torch.tensor([2])) * torch.tensor([[7.0, 8.0]])).sum().backward()
    assert {*first.state_dict()} == {"weight"}
    optimizer.step()
    assert {*optimizer.state[first.active]} == {"step"}
    assert {*first.state_dict()} == {"weight", "state_exp_avg", "state_exp_avg_sq"}
    second, _ = build()
    second.load_state_dict(first.state_dict())
    assert_close(second.state_dict(), first.state_dict())
    expected = torch.zeros(6, 2)
    expected[2] = 0.1 * torch.tensor([7.0, 8.0])
    assert_close(second.state_exp_avg, expected)


@pytest.mark.parametrize("how", [{"sampled": True}, {"sharded": True}])
def test_a_run_with_whole_class_weights_goes_on_with_sampled_or_split_ones(how):
    """The optimizer's state of all rows comes from its own state dict."""
    layers = []
    for options in ({}, how):
        layer = PartialFC(6, (2,), std=1.0, **{"sampled": False, "sharded": False, **options})
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.9)
        attach_partial_fc(layer, optimizer)
        layers.append((layer, optimizer))
    (whole, first), (other, second) = layers
    whole(None).sin().sum().backward()
    first.step()
    other.load_state_dict(whole.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    rows = torch.arange(6) if "sampled" in how else None
    for layer, optimizer, chosen in ((whole, first, None), (other, second, rows)):
        optimizer.zero_grad()
        layer(chosen).sin().sum().backward()
        optimizer.step()
    assert_close(other.weight, whole.weight.detach(), rtol=0, atol=0)


def test_names_what_distributed_data_parallel_leaves_alone():
    layer = sampled(sharded=True)
    nested = nn.ModuleDict({"head": nn.ModuleDict({"classes": layer})})
    assert ddp_ignored_names(nested) == ["head.classes.active", "head.classes.weight"]
    assert ddp_ignored_names(layer) == ["active", "weight"]


def test_the_norm_is_that_of_all_gradients():
    made = model()
    attach_partial_fc(made, torch.optim.SGD(made.parameters(), lr=0.1))
    backward(made, torch.tensor([1, 4]))
    squares = sum(p.grad.square().sum() for p in made.parameters())
    assert_close(gradient_norm(made), squares.sqrt())


def test_the_norm_is_on_the_model_s_device_where_split_class_weights_alone_train():
    made = nn.ModuleDict({"classes": PartialFC(20, (3,), std=1.0, sampled=True, sharded=True)}).to(
        "meta"
    )
    made["classes"].active.grad = torch.empty(0, 3, device="meta")
    assert gradient_norm(made).device.type == "meta"


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda ps: torch.optim.RMSprop(ps, lr=0.1, momentum=0.5),
        lambda ps: torch.optim.Adam(ps, lr=0.1, amsgrad=True),
        lambda ps: torch.optim.NAdam(ps, lr=0.1),
    ],
)
def test_other_optimizers_leave_rows_that_are_not_sampled_too(optimizer):
    made = model()
    steps = optimizer(made.parameters())
    attach_partial_fc(made, steps)
    before = made["classes"].weight.clone()
    for rows in ([0, 1], [1, 2], [5]):
        steps.zero_grad()
        backward(made, torch.tensor(rows))
        steps.step()
    moved = (made["classes"].weight != before).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == [0, 1, 2, 5]


def test_a_model_without_class_weights_has_a_plain_optimizer():
    network = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    attach_partial_fc(network, optimizer)
    assert not optimizer._optimizer_step_pre_hooks


def test_an_optimizer_that_has_a_state_of_rows_beforehand_is_refused():
    made = model()
    optimizer = torch.optim.Adagrad(made.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimizer Adagrad has a state of class weights before"):
        attach_partial_fc(made, optimizer)
