"""Several heads in a sum."""

from functools import partial

import pytest
import torch
from rows import batch
from torch.testing import assert_close

from ssl_dml.heads import CenterLoss, PairHead, ProxyAnchor, ProxyNCA, WeightedSum
from ssl_dml.losses import MultiSimilarity, Triplet
from ssl_dml.mining import BatchHard

HEADS = {
    "triplet": partial(PairHead, loss=Triplet(), miner=BatchHard(), memory_size=5),
    "proxies": ProxyNCA,
    "center": CenterLoss,
}


def head(weights=None):
    return WeightedSum(5, 6, heads=HEADS, weights=weights).double()


def test_value_gradient_and_logs_are_those_of_the_parts():
    model = head({"center": 0.003, "triplet": 2.0})
    rows, labels = batch()
    apart = {
        "triplet": PairHead(5, 6, loss=Triplet(), miner=BatchHard(), memory_size=5),
        "proxies": ProxyNCA(5, 6),
        "center": CenterLoss(5, 6),
    }
    for name, part in apart.items():
        part.double().load_state_dict(model.heads[name].state_dict())
    losses = {name: part(rows, labels) for name, part in apart.items()}
    expected = 2 * losses["triplet"].loss + losses["proxies"].loss + 0.003 * losses["center"].loss
    loss, logs = model(rows, labels)
    assert_close(loss, expected)
    given = [rows, model.heads["proxies"].proxies]
    alike = [rows, apart["proxies"].proxies]
    assert_close(torch.autograd.grad(loss, given), torch.autograd.grad(expected, alike))
    assert not any(value.requires_grad for value in logs.values())
    for name, (own, own_logs) in losses.items():
        assert_close(logs[f"{name}_loss"], own.detach())
        for key, value in own_logs.items():
            assert logs[f"{name}_{key}"] == value
    assert {"triplet_mined_triplets", "triplet_batches_without_pairs"} <= set(logs)


def test_a_weight_of_0_leaves_the_others_and_is_still_logged():
    model = head({"center": 0.0, "triplet": 0.0})
    rows, labels = batch()
    loss, logs = model(rows, labels)
    assert_close(loss.detach(), logs["proxies_loss"])
    assert logs["center_loss"] > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    model = WeightedSum(5, 6, heads={**HEADS, "anchors": ProxyAnchor}).eval()
    rows, labels = batch(dtype=torch.float32)
    plain = model(rows, labels).loss
    with torch.autocast("cpu", dtype=dtype):
        assert model(rows, labels).loss == plain


@pytest.mark.parametrize("labels", [[2, 2, 2], [1], [0, 1, 2]])
def test_where_no_head_finds_a_pair_nothing_is_learned(labels):
    pairs = {"first": partial(PairHead, loss=Triplet()), "second": HEADS["triplet"]}
    pairs["third"] = partial(PairHead, loss=MultiSimilarity())
    rows = torch.randn(len(labels), 5, requires_grad=True)
    loss, logs = WeightedSum(5, 6, heads=pairs)(rows, torch.tensor(labels))
    assert loss == 0
    assert (torch.autograd.grad(loss, rows)[0] == 0).all()
    assert all(logs[f"{name}_batches_without_pairs"] == 1 for name in pairs)


def test_the_state_of_all_survives_a_checkpoint():
    first, second = head(), head()
    for _ in range(2):
        first(*batch())
    second.load_state_dict(first.state_dict())
    rows, labels = batch()
    assert second(rows, labels).loss == first(rows, labels).loss
    assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": {}}, "heads must name at least one head"),
        ({"heads": {"m0.3": HEADS["triplet"]}}, "heads cannot be named 'm0.3'"),
        ({"heads": {"keys": HEADS["triplet"]}}, "heads cannot be named 'keys'"),
        ({"heads": {"training": HEADS["triplet"]}}, "heads cannot be named 'training'"),
        (
            {"heads": HEADS, "weights": {"middle": 1.0}},
            "weights names middle, and there is no such head",
        ),
        (
            {"heads": HEADS, "weights": {"center": -1.0}},
            r"weights\.center must be at least 0, got -1\.0",
        ),
    ],
)
def test_errors(options, words):
    with pytest.raises(ValueError, match=words):
        WeightedSum(5, 6, **options)


def test_a_label_of_no_class_is_named():
    with pytest.raises(ValueError, match="labels must be from 0 to 5, got 6"):
        head()(torch.randn(2, 5, dtype=torch.float64), torch.tensor([0, 6]))
