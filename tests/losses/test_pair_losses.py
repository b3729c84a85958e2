"""What every loss on pairs and triplets has in common."""

import numpy as np
import pytest
import torch
from rows import batch, value_and_gradient
from torch.testing import assert_close

from ssl_dml.losses import (
    Circle,
    Contrastive,
    Lifted,
    MultiSimilarity,
    NPair,
    PairLoss,
    SmoothAP,
    Triplet,
)
from ssl_dml.mining import All
from ssl_dml.types import LabeledEmbeddings

EVERY: dict[str, PairLoss] = {
    "contrastive": Contrastive(),
    "contrastive_plain": Contrastive(variant="plain", reduction="kinds"),
    "contrastive_non_zero": Contrastive(variant="plain", reduction="non_zero"),
    "triplet": Triplet(),
    "triplet_squared": Triplet(distance="squared", margin=1.0, reduction="non_zero"),
    "triplet_cosine": Triplet(distance="cosine", reduction="sum"),
    "triplet_soft": Triplet(margin=None),
    "lifted": Lifted(),
    "lifted_hardest": Lifted(variant="hardest"),
    "lifted_generalized": Lifted(variant="generalized"),
    "n_pair": NPair(),
    "n_pair_one": NPair(against="one", l2=0.0),
    "multi_similarity": MultiSimilarity(),
    "circle": Circle(),
    "smooth_ap": SmoothAP(),
    "smooth_ap_counted": SmoothAP(query="counted"),
}
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


def test_a_memory_of_another_dimension_is_named():
    memory = LabeledEmbeddings(torch.randn(4, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match="the memory holds rows of 3 dimensions, the batch of 5"):
        Contrastive()(torch.randn(2, 5), torch.tensor([0, 1]), memory)


def test_labels_of_another_length_are_named():
    from ssl_dml.pair_masks import pair_masks

    with pytest.raises(ValueError, match="labels need one entry a row: 2 for 3 rows"):
        pair_masks(torch.randn(3, 5), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Contrastive(margin=0.0), "margin must be positive, got 0.0"),
        (Triplet(margin=-1.0), "margin must be at least 0, or null for the soft one, got -1.0"),
        (NPair(l2=-1.0), "l2 must be at least 0, got -1.0"),
        (MultiSimilarity(alpha=0.0), "alpha and beta must be positive, got 0.0 and 50.0"),
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
