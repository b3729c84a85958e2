"""Every margin beside values computed elsewhere, and at its extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from rows import small
from torch.testing import assert_close

from ssl_dml.margins import (
    AdaCos,
    AdaFace,
    ArcFace,
    CombinedMargin,
    CosFace,
    CurricularFace,
    MagFace,
    NormalizedSoftmax,
    SphereFace,
    psi,
    whole_batch,
)

WEIGHTS = torch.tensor([[0.7, 0.2, -0.1], [0.1, 0.8, 0.3], [-0.2, 0.1, 0.9]], dtype=torch.float64)
EDGE = torch.tensor([[-0.7, -0.1, 0.05], [0.8, -0.2, 0.3]], dtype=torch.float64)
NORMS = torch.tensor([18.0, 25.0, 12.0, 30.0, 21.0, 8.0], dtype=torch.float64)


def cross_entropy(margin, rows, labels, weights=WEIGHTS, norms=None):
    cosines = F.normalize(rows, dim=1) @ F.normalize(weights, dim=1).T
    norms = rows.norm(dim=1) if norms is None else norms
    logits, penalty = margin(cosines, whole_batch(cosines, labels, norms))
    return F.cross_entropy(logits, labels) + penalty


def value(margin, norms=None):
    rows, labels = small()
    return cross_entropy(margin, rows, labels, norms=norms).item()


def fixed(margin, step=None):
    """A margin whose statistics stay."""
    if step is not None:
        margin.step.fill_(step)
    return margin.eval()


VALUES = {
    0.0023220576308154626: NormalizedSoftmax(scale=16.0),
    0.7294986864635375: CosFace(),
    0.43392900110572574: CosFace(scale=30.0),
    0.05241060469800327: CosFace(scale=16.0, margin=0.2),
    1.1492599360504812: ArcFace(),
    0.5523150473614575: ArcFace(scale=30.0),
    0.05365132063361544: ArcFace(scale=16.0, margin=0.3),
    1.424241606141667: CombinedMargin(),
    0.480501338176268: CombinedMargin(scale=16.0),
    1.1724600568530257: CombinedMargin(m1=0.9, m2=0.4, m3=0.15),
    0.9096341312341476: fixed(SphereFace(factor=2, lambda_start=0.0, lambda_min=0.0)),
    0.7539196594330049: fixed(SphereFace(factor=2, lambda_start=5.0)),
    0.7259240858258936: fixed(SphereFace(factor=2)),
    1.4235671550706994: fixed(SphereFace(factor=4, lambda_start=0.0, lambda_min=0.0)),
    0.820561495402611: fixed(SphereFace(factor=4, lambda_start=5.0)),
    0.726298190874623: fixed(SphereFace(factor=4)),
}
EVERY = {
    "softmax": NormalizedSoftmax,
    "cosface": CosFace,
    "arcface": ArcFace,
    "arcface_monotone": lambda: ArcFace(beyond_pi="monotone"),
    "arcface_easy": lambda: ArcFace(beyond_pi="easy"),
    "arcface_clip": lambda: ArcFace(beyond_pi="clip"),
    "arcface_straight": lambda: ArcFace(gradient="straight_through"),
    "combined": CombinedMargin,
    "sphereface": SphereFace,
    "sphereface_1": lambda: SphereFace(factor=1),
    "adacos": AdaCos,
    "adacos_fixed": lambda: AdaCos(scale="fixed"),
    "adaface": AdaFace,
    "curricularface": CurricularFace,
    "magface": MagFace,
}
over_all = pytest.mark.parametrize("name", EVERY)


@pytest.mark.parametrize(("expected", "margin"), VALUES.items())
def test_values_computed_elsewhere(expected, margin):
    assert_close(value(margin), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("raw", 38.587475817784636),
        ("monotone", 47.82624001798878),
        ("easy", 40.15543140032153),
        ("clip", 40.51864978791973),
    ],
)
def test_each_policy_beyond_pi(policy, expected):
    found = cross_entropy(ArcFace(beyond_pi=policy), EDGE, torch.zeros(2).long())
    assert_close(found.item(), expected, rtol=1e-9, atol=0)


def test_the_straight_through_gradient_is_another():
    """The slope of the margin, sin(theta + m) / sin(theta), is replaced by 1."""
    cosines = torch.tensor([[0.6, 0.1]], dtype=torch.float64, requires_grad=True)
    theta = math.acos(0.6)
    slopes = {"exact": math.sin(theta + 0.5) / math.sin(theta), "straight_through": 1.0}
    for gradient, slope in slopes.items():
        margin = ArcFace(scale=1.0, gradient=gradient)
        logits, _ = margin(cosines, whole_batch(cosines, torch.tensor([0])))
        assert_close(logits[0, 0].item(), math.cos(theta + 0.5))
        assert_close(torch.autograd.grad(logits[0, 0], cosines)[0][0, 0].item(), slope)


def test_psi_computed_elsewhere():
    thetas = torch.tensor([0, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 3 / 4, 1]).double() * math.pi
    fourth = [1.0, 0.0, -1.0, -1.5, -3.0, -5.0, -7.0]
    assert_close(psi(thetas.cos(), 4), torch.tensor(fourth).double())
    third = [1.0, 0.38268343236508984, -0.7071067811865475, -1.0, -2.0, -3.292893218813452, -5.0]
    assert_close(psi(thetas.cos(), 3), torch.tensor(third).double())
    falling = psi(torch.linspace(1, -1, 1001).double(), 4).diff()
    assert (falling <= 1e-9).all()


def test_sphereface_is_annealed_by_its_own_steps():
    margin = SphereFace()
    schedule = {0: 1000.0, 1: 892.8571428571428, 10: 454.5454545454545, 100: 76.92307692307693}
    for step, expected in {**schedule, 1000: 8.264462809917356, 10000: 5.0}.items():
        margin.step.fill_(step)
        assert_close(margin.annealing().item(), expected, rtol=1e-5, atol=0)
    value(margin)
    assert margin.step == 10001
    value(margin.eval())
    assert margin.step == 10001


def test_adacos():
    for classes, expected in {3: 0.9802581434685472, 10: 3.1073447968483734}.items():
        margin = AdaCos(scale="fixed")
        cosines = torch.zeros(1, classes)
        margin(cosines, whole_batch(cosines, torch.tensor([0])))
        assert_close(margin.scale.item(), expected, rtol=1e-6, atol=0)
    margin = AdaCos().double()
    assert_close(value(margin), 0.6903171379254078)
    assert_close(margin.scale.item(), 0.9632744738568063)
    value(margin)
    assert_close(margin.scale.item(), 0.9595644113141502)
    value(margin.eval())
    assert_close(margin.scale.item(), 0.9595644113141502)


@pytest.mark.parametrize(
    ("momentum", "expected", "mean", "deviation"),
    [
        (1.0, 2.0650542048577627, 19.0, 8.148619514985345),
        (0.01, 1.6058905198248354, 19.99, 99.08148619514985),
    ],
)
def test_adaface(momentum, expected, mean, deviation):
    margin = AdaFace(momentum=momentum).double()
    assert_close(value(margin, NORMS), expected)
    assert_close(margin.mean.item(), mean)
    assert_close(margin.deviation.item(), deviation)
    value(margin.eval(), NORMS)
    assert_close(margin.mean.item(), mean)


@pytest.mark.parametrize(
    ("before", "expected", "after"),
    [
        (0.0, 0.00019494069448988682, 0.008613823437994607),
        (0.5, 1.122403348724945, 0.5036138234379947),
    ],
)
def test_curricularface(before, expected, after):
    margin = CurricularFace().double()
    margin.t.fill_(before)
    assert_close(value(margin), expected)
    assert_close(margin.t.item(), after)
    value(margin.eval())
    assert_close(margin.t.item(), after)


def test_magface():
    assert_close(value(MagFace(weight=0.0), NORMS), 1.3468204341731635)
    assert_close(value(MagFace(weight=35.0), NORMS), 1.3468204341731635 + 35 * 0.06157134111679566)


@over_all
def test_gradient(name):
    if name == "arcface_straight":
        pytest.skip("its gradient is not that of its value")
    margin = EVERY[name]().double().eval()
    rows = (12 * torch.randn(5, 4, dtype=torch.float64)).requires_grad_()
    weights = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 5, 2, 2])
    if name.startswith("adaface"):
        margin.momentum = 0.0  # norms have no gradient, and stay what they are
        norms = rows.detach().norm(dim=1)
    else:
        norms = None
    assert torch.autograd.gradcheck(
        lambda rows, weights: cross_entropy(margin, rows, labels, weights, norms), (rows, weights)
    )


@over_all
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_finite_where_rows_lie_on_their_class_and_opposite(name, dtype):
    weights = torch.randn(3, 8, dtype=dtype, requires_grad=True)
    rows = torch.cat([7 * weights, -3 * weights, weights.roll(1, 0)]).detach().requires_grad_()
    labels = torch.arange(9) % 3
    found = cross_entropy(EVERY[name]().to(dtype), rows, labels, weights)
    assert found.isfinite()
    for gradient in torch.autograd.grad(found, (rows, weights)):
        assert gradient.isfinite().all()


@over_all
def test_a_class_that_is_not_here_has_scaled_cosines_alone(name):
    """With all own classes on other processes, no column is changed as an own one."""
    cosines = 0.2 * torch.rand(4, 5)
    here = whole_batch(cosines, torch.zeros(4).long(), torch.full((4,), 20.0))
    elsewhere = here._replace(columns=torch.full((4,), -1), cosines=torch.full((4,), 0.9))
    logits, _ = EVERY[name]().eval()(cosines, elsewhere)
    own_alike = EVERY[name]().eval()(cosines, here).logits
    assert_close(logits[:, 1:] / logits[:, 1:2], cosines[:, 1:] / cosines[:, 1:2])
    assert logits.shape == own_alike.shape


@over_all
def test_statistics_survive_a_checkpoint(name):
    first, second = EVERY[name](), EVERY[name]()
    for _ in range(3):
        value(first, NORMS)
    second.load_state_dict(first.state_dict())
    assert value(second, NORMS) == value(first, NORMS)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CosFace(scale=0.0), "scale must be positive"),
        (lambda: CosFace(margin=-0.1), "margin must be at least 0"),
        (lambda: ArcFace(margin=28.6), "margin must be from 0 to pi / 2 radians, got 28.6"),
        (lambda: CombinedMargin(m1=-1.0), "m1 must be at least 0, got -1.0"),
        (lambda: SphereFace(factor=0), "factor must be at least 1, got 0"),
        (lambda: SphereFace(gamma=-1.0), "gamma must be at least 0, got -1.0"),
        (lambda: AdaFace(concentration=0.0), "concentration must be positive"),
        (lambda: AdaFace(momentum=2.0), "momentum must be from 0 to 1"),
        (lambda: AdaFace(margin=-1.0), "margin must be at least 0"),
        (lambda: CurricularFace(momentum=-1.0), "momentum must be from 0 to 1"),
        (lambda: CurricularFace(margin=-1.0), "margin must be at least 0"),
        (lambda: MagFace(lengths=(9.0, 1.0)), "lengths must rise from above 0"),
        (lambda: MagFace(margins=(0.8, 0.4)), "margins must not fall"),
        (lambda: MagFace(weight=-1.0), "weight must be at least 0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_errors_of_a_batch():
    cosines = torch.zeros(1, 2)
    targets = whole_batch(cosines, torch.tensor([0]))
    with pytest.raises(ValueError, match="AdaCos needs 3 classes or more, got 2"):
        AdaCos()(cosines, targets)
    with pytest.raises(ValueError, match="AdaFace needs a batch of 2 or more"):
        AdaFace()(cosines, targets)
