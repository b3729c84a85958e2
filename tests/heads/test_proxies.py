"""Proxy heads beside values computed elsewhere, their definitions, and at their extremes."""

import math

import pytest
import torch
from rows import small
from torch.testing import assert_close

from ssl_dml.heads import ProxyAnchor, ProxyNCA, SoftTriple

PROXIES = [[0.7, 0.2, -0.1], [0.1, 0.8, 0.3], [-0.2, 0.1, 0.9]]
CENTERS = [
    [0.7, 0.2, -0.1],
    [0.2, -0.6, 0.5],
    [0.1, 0.8, 0.3],
    [-0.5, 0.5, 0.1],
    [-0.2, 0.1, 0.9],
    [0.3, -0.3, 0.3],
]
# Proxies, value, and gradient of the six rows.
ELSEWHERE = {
    "proxy_nca": (
        lambda: ProxyNCA(3, 3, temperature=1.0),
        PROXIES,
        0.4111355382154472,
        [
            [-0.0266419198364065, 0.04810992202243947, 0.09583367825260945],
            [-0.0487628349548353, 0.006164371757864717, 0.13414380771813728],
            [-0.01617047340004214, -0.05666832465906338, 0.09512694980335035],
            [0.09919354997558082, -0.04124027750754814, -0.05759179920559055],
            [0.07609805443798894, 0.009787803619584236, -0.004618354994956497],
            [0.030253889585812675, 0.13790076040554997, -0.03083997534227695],
        ],
    ),
    "proxy_anchor": (
        lambda: ProxyAnchor(3, 3),
        PROXIES,
        20.302793377350774,
        [
            [-0.0013378144884533833, 0.007352356306678745, 0.0023439870447008538],
            [-5.293140117762494e-07, 1.4880482798361326e-06, 2.4035362179607534e-06],
            [-1.8662962857099, -5.341493227741904, 8.881039077120858],
            [9.365200142828902, -2.0227558139397916, 0.17519932006656003],
            [2.8643694730180507e-08, 4.432769731332657e-08, 1.858338681539072e-08],
            [5.129772392593465, 11.921302039136014, -1.4088811500819407],
        ],
    ),
    "soft_triple": (
        lambda: SoftTriple(3, 3, centers=2, weight=0.0),
        CENTERS,
        0.8162213252637344,
        [
            [-0.000844341418359405, -0.008673846111042759, 0.008136459438138703],
            [-1.727361059420178, -3.108820486266815, 2.5337491676092645],
            [-0.002646076499546953, -0.0030098204991531497, 0.004605666748631272],
            [0.014146749597104899, -0.006531820469985776, -0.010164295011887394],
            [-0.35715473949346344, -1.0730983012046433, -0.49190480816563875],
            [-0.002430137625425945, 0.0029221508078841546, -0.00218911908200769],
        ],
    ),
}
HEADS = {
    "proxy_nca": ProxyNCA,
    "proxy_anchor": ProxyAnchor,
    "soft_triple": lambda *sizes: SoftTriple(*sizes, centers=3),
    "soft_triple_one_center": lambda *sizes: SoftTriple(*sizes, centers=1),
}
over_all = pytest.mark.parametrize("name", HEADS)


def with_proxies(head, proxies):
    head.double().proxies.data = torch.tensor(proxies, dtype=torch.float64)
    return head


def value_and_gradients(head, rows, labels):
    loss = head(rows, labels).loss
    return loss, torch.autograd.grad(loss, (rows, head.proxies))


def unit(row):
    return [x / math.hypot(*row) for x in row]


def cosine(a, b):
    return sum(x * y for x, y in zip(unit(a), unit(b), strict=True))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_value_and_gradient_computed_elsewhere(name):
    build, proxies, expected, gradient = ELSEWHERE[name]
    rows, labels = small()
    value, (found, _) = value_and_gradients(
        with_proxies(build(), proxies), rows.requires_grad_(), labels
    )
    assert_close(value.item(), expected, rtol=1e-9, atol=0)
    assert_close(found, torch.tensor(gradient, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("temperature", [1 / 9, 1.0])
def test_proxy_nca_is_a_softmax_over_squared_distances(temperature):
    rows, labels = small()
    total = 0.0
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        weights = [
            math.exp(-(math.dist(unit(row), unit(proxy)) ** 2) / temperature) for proxy in PROXIES
        ]
        total -= math.log(weights[label] / sum(weights)) / len(rows)
    head = with_proxies(ProxyNCA(3, 3, temperature=temperature), PROXIES)
    assert_close(head(rows, labels).loss.item(), total, rtol=1e-12, atol=0)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [1, 1, 1, 1, 1, 1], [0, 2, 2, 0, 0, 2]])
@pytest.mark.parametrize(("margin", "scale"), [(0.1, 32.0), (0.0, 4.0)])
def test_proxy_anchor_matches_definition(labels, margin, scale):
    """Also where classes are not in the batch, or nothing else is."""
    rows, _ = small()
    pulls, pushes = [], []
    for number, proxy in enumerate(PROXIES):
        cosines = [cosine(row, proxy) for row in rows.tolist()]
        own = [s for s, label in zip(cosines, labels, strict=True) if label == number]
        rest = [s for s, label in zip(cosines, labels, strict=True) if label != number]
        if own:
            pulls.append(math.log1p(sum(math.exp(-scale * (s - margin)) for s in own)))
        pushes.append(math.log1p(sum(math.exp(scale * (s + margin)) for s in rest)))
    expected = sum(pulls) / len(pulls) + sum(pushes) / len(PROXIES)
    head = with_proxies(ProxyAnchor(3, 3, margin=margin, scale=scale), PROXIES)
    found = head(rows, torch.tensor(labels)).loss
    assert_close(found.item(), expected, rtol=1e-11, atol=0)


def test_soft_triple_matches_definition():
    """With the term that merges centers: here one pair a class, and K (K - 1) = 2."""
    rows, labels = small()
    total = 0.0
    for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
        logits = []
        for number in range(3):
            own = [cosine(row, center) for center in CENTERS[2 * number : 2 * number + 2]]
            weights = [math.exp(s / 0.1) for s in own]
            soft = sum(w * s for w, s in zip(weights, own, strict=True)) / sum(weights)
            logits.append(20 * (soft - 0.01 * (number == label)))
        total += (math.log(sum(math.exp(z) for z in logits)) - logits[label]) / len(rows)
    apart = [math.dist(unit(a), unit(b)) for a, b in zip(CENTERS[::2], CENTERS[1::2], strict=True)]
    head = with_proxies(SoftTriple(3, 3, centers=2), CENTERS)
    loss, logs = head(rows, labels)
    assert_close(loss.item(), total + 0.2 * sum(apart) / (3 * 2 * 1), rtol=1e-12, atol=0)
    assert_close(logs["center_distance"].item(), sum(apart) / 3)


@over_all
def test_gradient(name):
    head = HEADS[name](4, 5).double()
    rows = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 3, 3, 3])
    assert torch.autograd.gradcheck(
        lambda rows, proxies: (
            torch.func.functional_call(head, {"proxies": proxies}, (rows, labels)).loss
        ),
        (rows, head.proxies),
    )


@over_all
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_is_finite_on_proxies_and_opposite(name, dtype):
    head = HEADS[name](8, 4)
    each = len(head.proxies) // 4
    own = head.proxies.detach()[::each]
    rows = torch.cat([7 * own, -3 * own, own.roll(1, 0), own]).to(dtype).requires_grad_()
    value, gradients = value_and_gradients(head, rows, torch.arange(4).repeat(4))
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("apart", [0.0, 1e-7, 1e-3])
def test_centers_that_meet_have_a_finite_slope(apart):
    head = SoftTriple(8, 2, centers=3)
    head.proxies.data[1:3] = head.proxies.data[0] + apart * torch.randn(2, 8)
    _, gradients = value_and_gradients(
        head, torch.randn(4, 8, requires_grad=True), torch.tensor([0, 0, 1, 1])
    )
    assert all(gradient.abs().max() < 100 for gradient in gradients)


@over_all
@pytest.mark.parametrize("labels", [[2, 2, 2], [1], [0, 1, 2]])
def test_one_class_alone_a_batch_of_one_and_one_of_each_are_as_any(name, labels):
    """Proxies stand for the classes that are not there."""
    rows = torch.randn(len(labels), 8, requires_grad=True)
    value, gradients = value_and_gradients(HEADS[name](8, 4), rows, torch.tensor(labels))
    assert value > 0
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0].abs().sum(dim=1).min() > 0


@over_all
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(name, dtype):
    head = HEADS[name](8, 4)
    rows, labels = torch.randn(9, 8, requires_grad=True), torch.arange(9) % 4
    plain = value_and_gradients(head, rows, labels)
    with torch.autocast("cpu", dtype=dtype):
        within = head(rows, labels).loss
    assert_close((within, torch.autograd.grad(within, (rows, head.proxies))), plain, rtol=0, atol=0)


@over_all
def test_what_is_not_a_number_stays_so(name):
    rows = torch.randn(4, 8).index_fill(0, torch.tensor([2]), math.nan)
    assert HEADS[name](8, 4)(rows, torch.arange(4)).loss.isnan()


@over_all
def test_proxies_survive_a_checkpoint(name):
    first, second = HEADS[name](8, 4), HEADS[name](8, 4)
    rows, labels = torch.randn(5, 8), torch.arange(5) % 4
    assert second(rows, labels).loss != first(rows, labels).loss
    second.load_state_dict(first.state_dict())
    assert second(rows, labels).loss == first(rows, labels).loss


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ProxyNCA(3, 3, temperature=0.0), "temperature must be positive, got 0.0"),
        (lambda: ProxyAnchor(3, 3, margin=-0.1), "margin must be at least 0, got -0.1"),
        (lambda: ProxyAnchor(3, 3, scale=0.0), "scale must be positive, got 0.0"),
        (lambda: SoftTriple(3, 3, centers=0), "centers must be at least 1, got 0"),
        (lambda: SoftTriple(3, 3, scale=-1.0), "scale must be positive, got -1.0"),
        (lambda: SoftTriple(3, 3, weight=-1.0), "weight must be at least 0, got -1.0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@over_all
@pytest.mark.parametrize(
    ("label", "words"),
    [
        (-1, "labels must be from 0 to 3, got -1: leave out samples without a label"),
        (4, "labels must be from 0 to 3, got 4: the head has 4 classes"),
    ],
)
def test_a_label_of_no_class_is_named(name, label, words):
    with pytest.raises(ValueError, match=words):
        HEADS[name](8, 4)(torch.randn(2, 8), torch.tensor([1, label]))
