"""A head on nested prefixes of the embedding."""

from functools import partial
from math import exp, hypot, log

import pytest
import torch
import torch.nn.functional as F
from rows import batch
from torch.testing import assert_close

from ssl_dml.heads import CenterLoss, LogRatio, MarginSoftmax, Nested, PairHead, ProxyAnchor
from ssl_dml.losses import Triplet
from ssl_dml.margins import ArcFace, CurricularFace, NormalizedSoftmax
from ssl_dml.mining import BatchHard
from ssl_dml.types import ConfigError

DIMS = [1, 2, 5]
HEADS = {
    "classes": partial(MarginSoftmax, margin=ArcFace()),
    "stateful": partial(MarginSoftmax, margin=CurricularFace()),
    "pairs": partial(PairHead, loss=Triplet(), miner=BatchHard(), memory_size=5),
    "proxies": ProxyAnchor,
    "center": CenterLoss,
}


def head(build):
    return Nested(5, 6, head=build, dims=DIMS).double()


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_the_sum_of_those_of_heads_that_stand_alone(name):
    model, (rows, labels) = head(HEADS[name]), batch()
    total, shares, expected = 0.0, [], {}
    for dim, inner in zip(DIMS, model.heads, strict=True):
        alone = HEADS[name](dim, 6).double()
        alone.load_state_dict(inner.state_dict())
        own = rows.detach()[:, :dim].clone().requires_grad_()
        loss, logs = alone(own, labels)
        shares.append(F.pad(torch.autograd.grad(loss, own)[0], (0, 5 - dim)))
        total += loss.item()
        expected |= {f"{key}_{dim}": value for key, value in logs.items()}
        expected[f"loss_{dim}"] = loss.detach()
    loss, logs = model(rows, labels)
    assert_close(dict(logs), expected)
    assert_close(loss.item(), total)
    assert_close(torch.autograd.grad(loss, rows)[0], sum(shares))
    assert not any(value.requires_grad for value in logs.values())


def test_softmax_by_hand():
    """Cosines and their softmax in plain Python; each prefix is normalized by itself."""
    build = partial(MarginSoftmax, margin=NormalizedSoftmax(scale=2.0))
    model = Nested(3, 2, head=build, dims=[2, 3]).double()
    row, total = [0.6, -1.5, 2.0], 0.0
    for dim, inner in zip([2, 3], model.heads, strict=True):
        x = row[:dim]
        logits = []
        for weight in inner.weight.squeeze(1).tolist():
            dot = sum(a * b for a, b in zip(x, weight, strict=True))
            logits.append(2 * dot / hypot(*x) / hypot(*weight))
        total += log(sum(map(exp, logits))) - logits[1]
    rows = torch.tensor([row], dtype=torch.float64)
    assert_close(model(rows, torch.tensor([1])).loss.item(), total, rtol=1e-9, atol=1e-9)


def test_gradient():
    model, labels = head(partial(PairHead, loss=Triplet(margin=5.0))), torch.tensor([0, 0, 1, 1])
    rows = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model.eval()(x, labels).loss, rows)


def test_state_of_one_margin_is_not_shared_by_the_prefixes():
    model = head(HEADS["stateful"])
    model(*batch())
    margins = [one.margin for one in model.heads]
    assert len({id(margin) for margin in margins}) == len(DIMS)
    second = head(HEADS["stateful"])
    second.load_state_dict(model.state_dict())
    rows, labels = batch()
    assert second(rows, labels).loss == model(rows, labels).loss


def test_one_prefix_of_all_is_the_head_itself():
    rows, labels = batch()
    whole = ProxyAnchor(5, 6).double()
    model = Nested(5, 6, head=ProxyAnchor, dims=[5]).double()
    model.heads[0].load_state_dict(whole.state_dict())
    assert model(rows, labels).loss == whole(rows, labels).loss


def test_continuous_labels_stay_continuous():
    assert Nested(5, 6, head=LogRatio, dims=[2, 5]).continuous
    assert not Nested(5, 6, head=ProxyAnchor, dims=[2, 5]).continuous


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ([], r"got \[\]: set it to \[5\]"),
        ([2, 4], r"nested must rise to 5, .* got \[2, 4\]: set it to \[2, 4, 5\]"),
        ([4, 2, 5], r"set it to \[2, 4, 5\]"),
        ([0, 5], r"set it to \[5\]"),
        ([2, 2, 5], r"set it to \[2, 5\]"),
        ([2, 8], r"set it to \[2, 5\]"),
    ],
)
def test_dimensions_that_do_not_rise_to_that_of_the_embedding_are_refused(dims, words):
    with pytest.raises(ConfigError, match=words):
        Nested(5, 6, head=ProxyAnchor, dims=dims)
