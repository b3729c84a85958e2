import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import Backbone
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.memory import BankStorage
from ssl_dml.methods import NPID, RunInfo
from ssl_dml.types import Batch


class Flat(Backbone):
    feature_dim = 16

    def __init__(self):
        super().__init__()
        self.layer = nn.Flatten()

    def forward(self, samples):
        return self.layer(samples)


TASK = RunInfo(num_instances=30, batch_size=4, num_batches=10)


def method(**options):
    return NPID(Flat(), TASK, **{"negatives": 8, "output_dim": 6, **options}).double()


def images(views=1):
    return list(torch.randn(views, 4, 1, 4, 4, dtype=torch.float64))


INDICES = torch.tensor([3, 17, 0, 29])


def embedded(npid, view):
    return F.normalize(npid.projector(npid.backbone(view)), dim=1).detach()


def test_a_step_is_the_papers_algorithm():
    """Draws, Z of the first batch, loss and update, each sample by itself in Python floats."""
    npid, (view,) = method(), images()
    bank, rows = npid.bank.embeddings.clone(), embedded(npid, view)
    drawn = counter_based_indices(INDICES, torch.tensor(0), count=8, high=30)
    loss, logs = npid(Batch([view], INDICES))

    def score(row, other):
        return math.exp(float(row @ other) / 0.07)

    noise = [[score(r, bank[j]) for j in js] for r, js in zip(rows, drawn.tolist(), strict=True)]
    z = 30 * sum(map(sum, noise)) / 32
    total = 0.0
    for row, index, others in zip(rows, INDICES.tolist(), noise, strict=True):
        own = score(row, bank[index]) / z
        total -= math.log(own / (own + 8 / 30))
        total -= sum(math.log((8 / 30) / (s / z + 8 / 30)) for s in others)
    assert_close(loss.item(), total / 4, rtol=1e-9, atol=0)
    assert_close(logs["log_z"].item(), math.log(z), rtol=1e-6, atol=0)
    expected = bank.clone()
    expected[INDICES] = F.normalize(0.5 * bank[INDICES] + 0.5 * rows, dim=1)
    assert_close(npid.bank.embeddings, expected)


def test_full_softmax_is_cross_entropy_over_the_bank():
    npid, (view,) = method(negatives=None, temperature=0.2), images()
    logits = embedded(npid, view) @ npid.bank.embeddings.clone().T / 0.2
    assert_close(npid(Batch([view], INDICES)).loss, F.cross_entropy(logits, INDICES))


def test_a_draw_for_the_batch_is_a_draw_for_every_sample():
    npid, (view,) = method(draw_for="batch"), images()
    bank, rows = npid.bank.embeddings.clone(), embedded(npid, view)
    loss, logs = npid(Batch([view], INDICES))
    (drawn,) = counter_based_indices(torch.tensor([-1]), torch.tensor(0), count=8, high=30)
    log_z, shift = logs["log_z"], logs["log_z"] + math.log(8 / 30)
    own, noise = (rows * bank[INDICES]).sum(1) / 0.07, rows @ bank[drawn].T / 0.07
    assert_close(log_z.double(), (noise.exp().mean() * 30).log(), rtol=1e-6, atol=0)
    expected = F.softplus(shift - own) + F.softplus(noise - shift).sum(1)
    assert_close(loss.detach(), expected.mean().double())


def test_the_projector_may_have_layers():
    kinds = [type(layer) for layer in method(layers=2).projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]


@pytest.mark.parametrize("draw_for", ["sample", "batch"])
def test_two_views_cost_the_mean_of_each_alone(draw_for):
    options = {"draw_for": draw_for, "normalizer": 500.0, "proximal": 1.0}
    npid, views = method(**options), images(2)
    state = {name: value.clone() for name, value in npid.state_dict().items()}
    both = npid(Batch(views, INDICES)).loss
    alone = []
    for view in views:
        npid.load_state_dict(state)
        alone.append(npid(Batch([view], INDICES)).loss)
    assert_close(both, (alone[0] + alone[1]) / 2)


def test_drifts_are_logged():
    npid, (view,) = method(normalizer=500.0), images()
    bank = npid.bank.embeddings.clone()
    logs = npid(Batch([view], INDICES)).logs
    assert_close(logs["bank_drift"], 1 - (bank * npid.bank.embeddings)[INDICES].sum(1).mean())
    estimate = method(normalizer="first_batch")
    estimate.load_state_dict({**npid.state_dict(), "log_z": torch.tensor(math.nan)})
    estimate.bank.embeddings.copy_(bank)
    estimate.step.zero_()
    first = estimate(Batch([view], INDICES)).logs
    assert first["z_drift"] == 0
    assert_close(logs["z_drift"], first["log_z"] - math.log(500.0), rtol=1e-6, atol=1e-6)
    assert set(method(negatives=None)(Batch([view], INDICES)).logs) == {
        "own_similarity",
        "bank_drift",
    }


@pytest.mark.parametrize("negatives", [8, None])
def test_a_bank_in_bfloat16_and_main_memory_serves_alike(negatives):
    npid = method(negatives=negatives)
    other = method(negatives=negatives, storage=BankStorage(dtype="bfloat16", device="cpu"))
    other.load_state_dict(npid.state_dict())
    npid.bank.embeddings.copy_(other.bank.embeddings)
    views = images(2)
    assert_close(npid(Batch(views, INDICES)).loss, other(Batch(views, INDICES)).loss)
    assert other.bank.embeddings.dtype == torch.bfloat16
    rows = other.bank.rows(INDICES).double()
    assert_close(rows, npid.bank.rows(INDICES), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"negatives": None}, {"proximal": 1.0}])
def test_the_update_does_not_reach_backward(options):
    npid = method(**options)
    loss, _ = npid(Batch(images(), INDICES))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in npid.parameters())


def test_z_is_fixed_followed_or_given():
    seen = {}
    for normalizer in ("first_batch", "average", "batch", 500.0):
        npid = method(normalizer=normalizer)
        seen[normalizer] = [npid(Batch(images(), INDICES)).logs["log_z"].item() for _ in range(3)]
    assert len(set(seen["first_batch"])) == 1
    assert len(set(seen["average"])) == len(set(seen["batch"])) == 3
    assert_close(seen[500.0], [math.log(500.0)] * 3, rtol=1e-6, atol=0)


def test_the_batchs_own_z_does_not_drift():
    npid = method(normalizer="batch")
    for _ in range(3):
        assert npid(Batch(images(), INDICES)).logs["z_drift"] == 0


def test_the_average_is_exponential():
    npid = method(normalizer="average")
    views = [images() for _ in range(2)]
    first = npid(Batch(views[0], INDICES)).logs["log_z"].exp()
    fresh = method()
    fresh.load_state_dict({**npid.state_dict(), "log_z": torch.tensor(math.nan)})
    second = fresh(Batch(views[1], INDICES)).logs["log_z"].exp()
    both = npid(Batch(views[1], INDICES)).logs["log_z"].exp()
    assert_close(both, 0.99 * first + 0.01 * second)


def test_the_proximal_term_is_the_squared_distance_to_the_bank():
    npid, other, (view,) = method(), method(proximal=2.5), images()
    other.load_state_dict(npid.state_dict())
    distance = (embedded(npid, view) - npid.bank.rows(INDICES)).square().sum(1).mean()
    plain, added = npid(Batch([view], INDICES)).loss, other(Batch([view], INDICES)).loss
    assert_close(added - plain, 2.5 * distance)


def test_several_views_average_and_update_once():
    npid, views = method(), images(2)
    bank = npid.bank.embeddings.clone()
    rows = torch.stack([embedded(npid, view) for view in views])
    npid(Batch(views, INDICES))
    expected = F.normalize(0.5 * bank[INDICES] + 0.5 * F.normalize(rows.mean(0), dim=1), dim=1)
    assert_close(npid.bank.rows(INDICES), expected)


def test_views_of_two_sizes_are_refused():
    views = [torch.randn(4, 1, 4, 4), torch.randn(4, 1, 2, 2)]
    with pytest.raises(ValueError, match=r"set crops\.local_views to 0"):
        method()(Batch(views, INDICES))


def test_everything_it_remembers_is_in_its_state():
    npid, other = method(normalizer="average"), method(normalizer="average")
    batches = [images() for _ in range(4)]
    for batch in batches[:2]:
        npid(Batch(batch, INDICES))
    other.load_state_dict(npid.state_dict())
    for batch in batches[2:]:
        assert torch.equal(npid(Batch(batch, INDICES)).loss, other(Batch(batch, INDICES)).loss)
    assert torch.equal(npid.bank.embeddings, other.bank.embeddings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"normalizer": -1.0}, r"normalizer must be positive, got -1\.0"),
        ({"bank_momentum": 2.0}, r"bank_momentum must be from 0 to 1, got 2\.0"),
    ],
)
def test_refuses_settings_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        method(**options)


def test_a_split_bank_has_no_full_softmax():
    with pytest.raises(ValueError, match=r"negatives must be a number with storage\.sharded"):
        method(negatives=None, storage=BankStorage(sharded=True))
