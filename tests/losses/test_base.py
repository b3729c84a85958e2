"""What all losses have in common, and every loss on pairs and triplets."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from rows import batch, value_and_gradient
from torch.testing import assert_close

from ssl_dml import losses
from ssl_dml.losses import (
    Circle,
    Contrastive,
    GeneralizedLifted,
    Lifted,
    Loss,
    MultiSimilarity,
    NPair,
    PairLoss,
    SmoothAP,
    Triplet,
)
from ssl_dml.losses.base import average, compare, log_sum_where
from ssl_dml.mining import All
from ssl_dml.types import LabeledEmbeddings

EVERY: dict[str, PairLoss] = {
    "contrastive": Contrastive(),
    "contrastive_kinds": Contrastive(reduction="kinds"),
    "triplet": Triplet(),
    "triplet_squared": Triplet(distance="squared", margin=1.0, reduction="non_zero"),
    "triplet_cosine": Triplet(distance="cosine", reduction="sum"),
    "triplet_soft": Triplet(margin=None),
    "lifted": Lifted(),
    "lifted_generalized": GeneralizedLifted(),
    "n_pair": NPair(),
    "n_pair_one": NPair(against="one", l2=0.0),
    "multi_similarity": MultiSimilarity(),
    "circle": Circle(),
    "smooth_ap": SmoothAP(),
}
MODULES = [
    getattr(losses, name)
    for name in losses.__all__
    if name not in ("Loss", "PairLoss") and inspect.isclass(getattr(losses, name))
]
over_modules = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
over_all = pytest.mark.parametrize("name", EVERY)


# The weights of the circle loss have no gradient, so its own is not that of its value.
differentiable = pytest.mark.parametrize("name", [name for name in EVERY if name != "circle"])


@differentiable
def test_gradient(name):
    rows, labels = batch(classes=3, of_each=2, dim=3)
    assert torch.autograd.gradcheck(lambda rows: EVERY[name](rows, labels), rows)


@differentiable
def test_gradient_beside_a_memory(name):
    rows, labels = batch(classes=3, of_each=2, dim=3)
    memory = LabeledEmbeddings(
        torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 3])
    )
    assert torch.autograd.gradcheck(lambda rows: EVERY[name](rows, labels, memory), rows)


@over_all
def test_the_order_of_rows_does_not_matter(name):
    rows, labels = batch(of_each=2)
    order = torch.randperm(len(rows))
    if name.startswith("n_pair"):  # which pairs a class with its own order
        order = torch.randperm(6).repeat_interleave(2) * 2 + torch.tensor([0, 1]).repeat(6)
        rows, labels = rows[labels.argsort(stable=True)], labels.sort().values
    assert_close(EVERY[name](rows, labels), EVERY[name](rows[order], labels[order]))


@over_all
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_is_finite_at_duplicates_and_opposites(name, dtype):
    one = torch.randn(1, 8)
    rows = torch.cat([one, one, one, -one, -one, one]).to(dtype).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    value, gradient = value_and_gradient(EVERY[name], rows, labels)
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert gradient.isfinite().all()


@over_all
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(name, dtype):
    rows, labels = batch(dtype=torch.float32)
    plain = value_and_gradient(EVERY[name], rows, labels)
    with torch.autocast("cpu", dtype=dtype):
        within = EVERY[name](rows, labels)
    assert_close((within, torch.autograd.grad(within, rows)[0]), plain, rtol=0, atol=0)


@over_all
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [5], []])
def test_without_a_valid_triplet_there_is_no_nan(name, labels):
    rows = torch.randn(len(labels), 3, requires_grad=True)
    value, gradient = value_and_gradient(EVERY[name], rows, torch.tensor(labels).long())
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    "name",
    ["triplet", "triplet_soft", "lifted", "lifted_generalized", "circle", "n_pair_one"],
)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_what_needs_both_kinds_is_0_without_one(name, labels):
    rows = torch.randn(4, 3, requires_grad=True)
    value, gradient = value_and_gradient(EVERY[name], rows, torch.tensor(labels))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("n_pair")])
def test_to_mine_everything_changes_nothing(name):
    rows, labels = batch()
    assert_close(
        EVERY[name](rows, labels, mined=All()(rows.detach(), labels)), EVERY[name](rows, labels)
    )


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("n_pair")])
def test_a_memory_of_other_classes_adds_negatives_alone(name):
    """As if its rows were part of the batch but no anchors."""
    rows, labels = batch(classes=3)
    memory = LabeledEmbeddings(torch.randn(4, 5, dtype=torch.float64), torch.tensor([7, 8, 9, 9]))
    found = EVERY[name](rows, labels, memory=memory)
    assert found != EVERY[name](rows, labels)
    assert found.isfinite()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Contrastive(margin=0.0), "margin must be positive, got 0.0"),
        (Triplet(margin=-1.0), "margin must be at least 0, got -1.0"),
        (NPair(l2=-1.0), "l2 must be at least 0, got -1.0"),
        (MultiSimilarity(alpha=0.0), "alpha must be positive, got 0.0"),
        (Circle(margin=2.0), "margin must be from 0 to 1, got 2.0"),
        (Circle(scale=0.0), "scale must be positive, got 0.0"),
        (SmoothAP(temperature=0.0), "temperature must be positive, got 0.0"),
    ],
)
def test_errors(loss, words):
    rows, labels = batch()
    with pytest.raises(ValueError, match=words):
        loss(rows, labels)


def test_n_pair_has_no_miner():
    rows, labels = batch()
    with pytest.raises(ValueError, match="leave the miner out"):
        NPair()(rows, labels, mined=All()(rows.detach(), labels))


def test_memory_grows_with_the_square():
    """A batch whose cube would be 8 GB."""
    labels = torch.arange(250).repeat_interleave(4)
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(1000, 8))).float()
    for name in ("triplet", "smooth_ap"):
        assert value_and_gradient(EVERY[name], rows.requires_grad_(), labels)[1].isfinite().all()


def function_of(module):
    """The function of the same name, whatever its case."""
    (name,) = (
        name
        for name in losses.__all__
        if name.islower() and name.replace("_", "") == module.__name__.lower()
    )
    return getattr(losses, name)


@over_modules
def test_a_module_has_the_options_and_defaults_of_its_function(module):
    options = inspect.signature(module).parameters
    given = inspect.signature(function_of(module)).parameters
    for name, option in options.items():
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.annotation == given[name].annotation
        assert option.default == given[name].default
        assert name in inspect.getdoc(module)
    per_call = {"memory", "mined", "group", "log_z", "instances"}
    keywords = {n for n, p in given.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keywords - per_call == set(options)


def test_every_loss_function_has_a_module():
    helpers = {"cpc_scores", "log_normalizer", "log_sum_exp"}
    functions = {name for name in losses.__all__ if name.islower()} - helpers
    assert {function_of(module).__name__ for module in MODULES} == functions


def built(module):
    return module(num_instances=9) if module.__name__ == "NCE" else module()


@over_modules
def test_a_module_can_be_copied_pickled_and_shown(module):
    made = built(module)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(again) is module
        assert repr(again) == repr(made)
        assert again.function is made.function
    for name in inspect.signature(module).parameters:
        assert f"{name}=" in repr(made)


def test_an_unknown_option_and_a_missing_one_are_named():
    with pytest.raises(TypeError, match="Triplet: got an unexpected keyword argument 'margn'"):
        Triplet(margn=0.3)
    with pytest.raises(TypeError, match="NCE: missing a required argument: 'num_instances'"):
        losses.NCE()


@over_modules
def test_a_configuration_names_a_module(module):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loss", type=Loss)
    options = {"num_instances": 9} if module.__name__ == "NCE" else {}
    path = f"ssl_dml.losses.{module.__name__}"
    given = parser.parse_object({"loss": {"class_path": path, "init_args": options}})
    made = parser.instantiate(given).loss
    assert repr(made) == repr(built(module))


@pytest.mark.parametrize("name", EVERY)
def test_a_module_computes_what_its_function_does(name):
    rows, labels = batch()
    module = EVERY[name]
    options = {option: getattr(module, option) for option in module.options.parameters}
    assert_close(module(rows, labels), module.function(rows, labels, mined=None, **options))


def test_compare_average_and_log_sum():
    found, positive, negative = compare(
        torch.tensor([[0.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]), None, None
    )
    assert_close(found, torch.tensor([[0.0, 3.0, 5.0], [3.0, 0.0, 2.0], [5.0, 2.0, 0.0]]))
    assert_close(average(found, negative).item(), (5 + 2 + 5 + 2) / 4)
    assert average(found, torch.zeros_like(positive)) == 0
    sums = log_sum_where(found, negative)
    assert_close(sums, torch.tensor([5.0, 2.0, float(np.logaddexp(5, 2))]))
    assert_close(log_sum_where(found, negative, dim=0), sums)
    assert log_sum_where(found, positive)[2].exp() == 0
