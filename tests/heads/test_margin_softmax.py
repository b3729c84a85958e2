"""Class weights against plain cross-entropy, pytorch-metric-learning, and rows kept by hand."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rows import small
from torch import nn
from torch.testing import assert_close

from ssl_dml.heads import MarginSoftmax, attach_partial_fc
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

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning import losses as pml

MARGINS = [
    NormalizedSoftmax, CosFace, ArcFace, CombinedMargin, SphereFace, AdaCos, AdaFace,
    CurricularFace, MagFace,
]  # fmt: skip
WEIGHTS = torch.tensor([[0.7, 0.2, -0.1], [0.1, 0.8, 0.3], [-0.2, 0.1, 0.9]], dtype=torch.float64)
SUB_CENTERS = [
    [0.7, 0.2, -0.1], [0.2, -0.6, 0.5], [0.1, 0.8, 0.3],
    [-0.5, 0.5, 0.1], [-0.2, 0.1, 0.9], [0.3, -0.3, 0.3],
]  # fmt: skip
SIX = [*WEIGHTS.tolist(), [0.4, -0.4, 0.2], [-0.6, 0.3, -0.2], [0.3, 0.3, -0.7]]
SAMPLED = [
    [-0.7960296952509778, 2.3965299707388645, -0.7791479252791145],
    [-0.22859996255786857, -0.7964942561806647, 2.200184670667734],
    [0.13620877875623894, 0.2671230405410452, 0.000588279663492508],
    [0.08023471400090113, 0.14063016102281384, -0.029758900468482542],
]
LARGE, DIM = 200, 4


def head(margin=None, classes=3, dim=3, **arguments):
    return MarginSoftmax(dim, classes, margin=margin or ArcFace(), **arguments).double()


def attached(*given, **arguments):
    """A head with an optimizer, so that its rows may have gradients."""
    made = head(*given, **arguments)
    attach_partial_fc(made, torch.optim.SGD(made.parameters(), lr=0.1))
    return made


def trained_weights(made):
    return made.weight if made.class_weights.plain else made.class_weights.active


def fill(made, weights):
    made.weight.data.copy_(weights)


def gradients(made, rows, labels):
    """Loss, and gradients of rows and of the class weights that take part."""
    rows = rows.clone().requires_grad_()
    loss, _ = made(rows, labels)
    loss.backward()
    return loss.detach(), rows.grad, trained_weights(made).grad


def test_values_computed_elsewhere():
    rows, labels = small()
    two = head(ArcFace(scale=16.0, margin=0.3), sub_centers=2)
    fill(two, torch.tensor(SUB_CENTERS).double().view(3, 2, 3))
    loss, slope, _ = gradients(two, rows, labels)
    assert_close(loss.item(), 1.6695352710376365)
    assert_close(
        slope[0].tolist(), [-0.029729862888494385, -0.22911875981490382, 0.2483437629056766]
    )
    for scale, value in ((64.0, 11.778148846038318), (16.0, 3.075300182001845)):
        six = head(ArcFace(scale=scale), classes=6)
        fill(six, torch.tensor(SIX).double()[:, None])
        assert_close(six(rows, labels).loss.item(), value)


@pytest.mark.parametrize(
    ("scale", "value"), [(64.0, 1.1492614066762254), (16.0, 0.36372432835474316)]
)
def test_sampled_values_computed_elsewhere(monkeypatch, scale, value):
    rows, labels = small()
    made = attached(ArcFace(scale=scale), classes=6, sample_rate=0.5).train()
    fill(made, torch.tensor(SIX).double()[:, None])
    monkeypatch.setattr(made, "_sample", lambda _: torch.tensor([0, 1, 2, 4]))
    loss, _, taken = gradients(made, rows, labels)
    assert_close(loss.item(), value)
    if scale == 16:
        assert_close(taken[:, 0], torch.tensor(SAMPLED).double())


@pytest.mark.parametrize("margin", MARGINS)
def test_is_cross_entropy_on_the_margins_logits(margin):
    rows, labels = small()
    rows = 12 * rows
    made = head(margin()).train()
    fill(made, WEIGHTS[:, None])
    found = gradients(made, rows, labels)
    rows, weights = rows.clone().requires_grad_(), WEIGHTS.clone().requires_grad_()
    cosines = F.normalize(rows, dim=1) @ F.normalize(weights, dim=1).T
    logits, penalty = margin().double()(cosines, whole_batch(cosines, labels, rows.norm(dim=1)))
    (F.cross_entropy(logits, labels) + penalty).backward()
    expected = F.cross_entropy(logits, labels) + penalty
    assert_close(found, (expected.detach(), rows.grad, weights.grad[:, None]))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("centers", [1, 3])
def test_is_that_of_pytorch_metric_learning(seed, centers):
    torch.manual_seed(seed)
    rows, labels = torch.randn(12, 5, dtype=torch.float64), torch.arange(12) % 4
    weights = torch.randn(4, centers, 5, dtype=torch.float64)
    made = head(ArcFace(scale=30.0, beyond_pi="monotone"), 4, 5, sub_centers=centers)
    fill(made, weights)
    loss, of_rows, of_weights = gradients(made, rows, labels)
    degrees = math.degrees(0.5)
    if centers == 1:
        theirs = pml.ArcFaceLoss(4, 5, margin=degrees, scale=30).double()
    else:
        theirs = pml.SubCenterArcFaceLoss(
            num_classes=4, embedding_size=5, margin=degrees, scale=30, sub_centers=centers
        ).double()
    theirs.W.data = weights.flatten(0, 1).T.clone()
    rows = rows.requires_grad_()
    expected = theirs(rows, labels)
    expected.backward()
    assert_close(loss, expected.detach())
    assert_close(of_rows, rows.grad)
    assert_close(of_weights.flatten(0, 1), theirs.W.grad.T)


def test_a_sample_holds_the_batch_and_its_share_and_is_a_function_of_the_step():
    labels = torch.tensor([3, 3, 150])
    rows = torch.randn(3, DIM, dtype=torch.float64)
    sizes, seen = [], set()
    first, second = (attached(classes=LARGE, dim=DIM, sample_rate=0.1) for _ in range(2))
    for _ in range(100):
        for made in (first, second):
            made.zero_grad()
            gradients(made, rows, labels)
        assert torch.equal(first.class_weights.sampled_rows, second.class_weights.sampled_rows)
        assert {3, 150} <= {*first.class_weights.sampled_rows.tolist()}
        sizes.append(len(first.class_weights.sampled_rows))
        seen |= {*first.class_weights.sampled_rows.tolist()}
    assert abs(np.mean(sizes) - (20 + 2 * 0.9)) < 1.5
    assert len(seen) == LARGE
    other = attached(classes=LARGE, dim=DIM, sample_rate=0.1, seed=1)
    gradients(other, rows, labels)
    assert not torch.equal(other.class_weights.sampled_rows, second.class_weights.sampled_rows)


def test_a_sampled_step_is_cross_entropy_over_what_was_drawn():
    labels = torch.tensor([3, 7, 150, 7])
    rows = torch.randn(4, DIM, dtype=torch.float64)
    made = attached(classes=LARGE, dim=DIM, sample_rate=0.2)
    loss, of_rows, of_weights = gradients(made, rows, labels)
    taken = made.class_weights.sampled_rows
    weights = made.weight[taken, 0].clone().requires_grad_()
    rows = rows.requires_grad_()
    cosines = F.normalize(rows, dim=1) @ F.normalize(weights, dim=1).T
    columns = torch.tensor([taken.tolist().index(label) for label in labels])
    logits, _ = ArcFace()(cosines, whole_batch(cosines, columns))
    expected = F.cross_entropy(logits, columns)
    expected.backward()
    assert_close((loss, of_rows, of_weights[:, 0]), (expected.detach(), rows.grad, weights.grad))


def by_hand(name, steps):
    """Rows after some steps of the optimizer, each row's state kept apart, in NumPy."""

    def sgd(row, state, gradient):
        gradient = gradient + 0.1 * row
        state["m"] = 0.9 * state.get("m", 0.0) + gradient
        return row - 0.5 * state["m"]

    def adamw(row, state, gradient, step):
        state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * gradient
        state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * gradient**2
        row = row * (1 - 0.5 * 0.1)
        ahead = (state["v"] / (1 - 0.999**step)) ** 0.5 + 1e-8
        return row - 0.5 * state["m"] / (1 - 0.9**step) / ahead

    weights, states = None, {}
    for number, (before, taken, gradient) in enumerate(steps, 1):
        weights = before if weights is None else weights
        for row, slope in zip(taken, gradient, strict=True):
            state = states.setdefault(row, {})
            extra = (number,) if name == "adamw" else ()
            update = sgd if name == "sgd" else adamw
            weights[row] = update(weights[row], state, slope, *extra)
    return weights


def optimizer_for(name, made):
    if name == "sgd":
        optimizer = torch.optim.SGD(made.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
    else:
        optimizer = torch.optim.AdamW(made.parameters(), lr=0.5, weight_decay=0.1)
    attach_partial_fc(made, optimizer)
    return optimizer


def train(made, optimizer, steps, first=0):
    """Some steps; of each the weights before it, the rows that were open, and their gradient."""
    told = []
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        rows = torch.randn(6, DIM, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, LARGE, (6,), generator=generator)
        before = made.weight.detach().clone().numpy()
        optimizer.zero_grad()
        _, _, gradient = gradients(made, rows, labels)
        plain = made.class_weights.plain
        taken = list(range(LARGE)) if plain else made.class_weights.sampled_rows.tolist()
        told.append((before, taken, gradient.numpy()))
        optimizer.step()
        left = sorted({*range(LARGE)} - {*taken})
        assert np.array_equal(made.weight.detach().numpy()[left], before[left])
    return told


@pytest.mark.parametrize("rate", [0.1, 1.0])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_sampled_rows_alone_are_trained_with_their_own_momentum(name, rate):
    made = head(classes=LARGE, dim=DIM, sample_rate=rate)
    told = train(made, optimizer_for(name, made), 30)
    assert_close(made.weight.detach(), torch.from_numpy(by_hand(name, told)))
    assert made.class_weights.plain or len(made.class_weights.active) == 0


@pytest.mark.parametrize("rate", [0.1, 1.0])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_resumed_run_is_the_one_that_was_never_stopped(name, rate):
    torch.manual_seed(0)
    whole = head(classes=LARGE, dim=DIM, sample_rate=rate)
    begun = head(classes=LARGE, dim=DIM, sample_rate=rate)
    begun.load_state_dict(whole.state_dict())
    train(whole, optimizer_for(name, whole), 12)
    optimizer = optimizer_for(name, begun)
    train(begun, optimizer, 5)
    resumed = head(classes=LARGE, dim=DIM, sample_rate=rate)
    other = optimizer_for(name, resumed)
    resumed.load_state_dict(begun.state_dict())
    other.load_state_dict(optimizer.state_dict())
    train(resumed, other, 7, first=5)
    assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert "class_weights.active" not in whole.state_dict()


def test_gradients_of_several_batches_add_up_without_sampling():
    made = head()
    rows, labels = small()
    for _ in range(2):
        gradients(made, rows, labels)
    twice = made.weight.grad.clone()
    made.zero_grad()
    assert_close(twice, 2 * gradients(made, rows, labels)[2])


def test_evaluation_takes_all_classes_and_draws_nothing():
    made = head(classes=LARGE, dim=DIM, sample_rate=0.1).eval()
    rows, labels = torch.randn(4, DIM, dtype=torch.float64), torch.arange(4)
    loss, _ = made(rows, labels)
    made.sample_rate = 1.0
    assert_close(loss, made(rows, labels).loss)
    assert made.step == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("margin", MARGINS)
def test_computes_in_full_precision_under_autocast(margin, dtype):
    rows, labels = small()
    rows = (12 * rows).float()
    made = head(margin()).float().eval()
    expected = made(rows, labels).loss
    with torch.autocast("cpu", dtype=dtype):
        found = made(rows, labels).loss
        half = made(rows.to(dtype), labels).loss
    assert_close(found, expected)
    assert half.dtype == torch.float32
    assert half.isfinite()


@pytest.mark.parametrize("margin", MARGINS)
def test_is_finite_on_and_opposite_a_class_weight(margin):
    made = head(margin())
    weights = made.weight.detach()[:, 0]
    rows = torch.cat([7 * weights, -3 * weights])
    for found in gradients(made, rows, torch.tensor([0, 1, 2, 0, 1, 2])):
        assert found.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"classes": 1}, "num_classes must be at least 2, got 1"),
        ({"sub_centers": 0}, "sub_centers must be at least 1, got 0"),
        ({"sample_rate": 0.0}, "sample_rate must be above 0 and at most 1, got 0.0"),
        ({"sample_rate": 1.5}, "sample_rate must be above 0 and at most 1, got 1.5"),
    ],
)
def test_errors(arguments, words):
    with pytest.raises(ValueError, match=words):
        head(**arguments)


def test_errors_of_a_step():
    rows, labels = small()
    made = attached(sample_rate=0.5)
    with pytest.raises(ValueError, match="labels must be from 0 to 2, got 3"):
        made(rows, labels + 1)
    gradients(made, rows, labels)
    with pytest.raises(ValueError, match=r"set train\.accumulation to 1"):
        made(rows, labels)
    assert isinstance(made, nn.Module)


def test_a_plain_loop_trains_sampled_class_weights():
    rows, labels = torch.randn(8, 16), torch.arange(8)
    made = MarginSoftmax(16, 50, margin=ArcFace(), sample_rate=0.3)
    before, optimizer = made.weight.clone(), torch.optim.SGD(made.parameters(), lr=0.1)
    attach_partial_fc(made, optimizer)
    for _ in range(5):
        loss, _ = made(rows, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = (made.weight != before).flatten(1).any(dim=1)
    assert moved[:8].all()
    assert 25 < moved.sum() < 50


@pytest.mark.parametrize(
    ("how", "verb"), [({"sample_rate": 0.3}, "samples"), ({"sharded": True}, "splits")]
)
def test_sampled_or_split_class_weights_that_no_optimizer_updates_are_refused(how, verb):
    made = MarginSoftmax(16, 50, margin=ArcFace(), **how)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    loss, _ = made(torch.randn(8, 16), torch.arange(8))
    words = (
        f"MarginSoftmax {verb} its class weights, and no optimizer updates them: call "
        r"ssl_dml\.heads\.attach_partial_fc\(model, optimizer\) after building the optimizer"
    )
    with pytest.raises(ValueError, match=words):
        loss.backward()
    assert not optimizer.state


def test_a_plain_loop_trains_whole_class_weights_as_any_parameter():
    rows, labels = torch.randn(8, 16), torch.arange(8)
    made = MarginSoftmax(16, 50, margin=ArcFace())
    assert sum(p.numel() for p in made.parameters()) == 50 * 16
    before, optimizer = made.weight.detach().clone(), torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        made(rows, labels).loss.backward()
        optimizer.step()
    assert (made.weight != before).flatten(1).any(dim=1).all()
