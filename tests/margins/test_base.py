"""What every margin keeps: gradients, extremes, classes of other processes, and state."""

import pytest
import torch
from margin_losses import NORMS, cross_entropy, value
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
    whole_batch,
)

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
