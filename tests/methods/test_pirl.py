import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.backbones import Backbone
from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.methods import PIRL, RunInfo
from ssl_dml.types import Batch


class Pooled(Backbone):
    feature_dim = 4

    def forward(self, samples):
        return F.adaptive_avg_pool2d(samples, 2).flatten(1)


TASK = RunInfo(num_instances=30, batch_size=4, num_batches=10)
INDICES = torch.tensor([3, 17, 0, 29])


def method(**options):
    chosen = {"grid": 2, "negatives": 8, "output_dim": 6, **options}
    return PIRL(Pooled(), TASK, **chosen).double()


def images(views=2):
    return list(torch.randn(views, 4, 1, 8, 8, dtype=torch.float64))


def embeddings(pirl, views):
    """Of the plain first view and the transformed last one, for one pretext."""
    (pretext,) = pirl.pretexts.values()
    stream = torch.tensor(1 if "jigsaw" in pirl.pretexts else 2)
    random = counter_based_indices(INDICES, stream, count=pretext.draws, high=2**62)
    plain = F.normalize(pirl.projector(pirl.backbone(views[0])), dim=1)
    return plain.detach(), F.normalize(pretext(pirl.backbone, views[-1], random), dim=1).detach()


def negatives():
    drawn = counter_based_indices(INDICES, torch.tensor(0), count=8, high=29).tolist()
    return [[j + (j >= i) for j in js] for i, js in zip(INDICES.tolist(), drawn, strict=True)]


@pytest.mark.parametrize("pretext", ["jigsaw", "rotation"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_step_is_the_papers_algorithm(pretext, count):
    """Equation 5 and the update, each sample by itself in Python floats."""
    pirl, views = method(pretexts=(pretext,), weight=0.3), images(count)
    bank, (plain, transformed) = pirl.bank.embeddings.clone(), embeddings(pirl, views)
    loss, logs = pirl(Batch(views, INDICES))

    def cost(row, index, others):
        own, *rest = [math.exp(float(row @ bank[j]) / 0.07) for j in (index, *others)]
        everything = own + sum(rest)
        return -math.log(own / everything) - sum(math.log(1 - s / everything) for s in rest)

    total = 0.0
    for i, (index, others) in enumerate(zip(INDICES.tolist(), negatives(), strict=True)):
        assert index not in others
        total += 0.3 * cost(transformed[i], index, others) + 0.7 * cost(plain[i], index, others)
    assert_close(loss.item(), total / 4, rtol=1e-9, atol=0)
    assert_close(logs["own_similarity"], (plain * bank[INDICES]).sum(1).mean())
    assert_close(logs[f"{pretext}_similarity"], (transformed * bank[INDICES]).sum(1).mean())
    expected = bank.clone()
    expected[INDICES] = F.normalize(0.5 * bank[INDICES] + 0.5 * plain, dim=1)
    assert_close(pirl.bank.embeddings, expected)


def test_two_pretexts_are_averaged():
    pirl, views = method(pretexts=("jigsaw", "rotation"), weight=1.0), images()
    alone = []
    for name in pirl.pretexts:
        other = method(pretexts=(name,), weight=1.0)
        other.load_state_dict(pirl.state_dict(), strict=False)
        alone.append(other(Batch(views, INDICES)).loss)
    assert_close(pirl(Batch(views, INDICES)).loss, torch.stack(alone).mean())


def test_steps_draw_afresh():
    pirl, views = method(bank_momentum=1.0), images()
    assert pirl(Batch(views, INDICES)).loss != pirl(Batch(views, INDICES)).loss


def test_every_weight_receives_a_finite_gradient():
    pirl = method(pretexts=("jigsaw", "rotation"))
    pirl(Batch(images(), INDICES)).loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in pirl.parameters())


def test_everything_it_remembers_is_in_its_state():
    pirl, other = method(), method()
    batches = [images() for _ in range(4)]
    for batch in batches[:2]:
        pirl(Batch(batch, INDICES))
    other.load_state_dict(pirl.state_dict())
    for batch in batches[2:]:
        assert torch.equal(pirl(Batch(batch, INDICES)).loss, other(Batch(batch, INDICES)).loss)


def test_a_third_view_is_refused():
    with pytest.raises(ValueError, match=r"set crops\.views to 1 or 2, got 3"):
        method()(Batch(images(3), INDICES))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pretexts": ()}, r"pretexts must name one or more, each once, got \[\]"),
        ({"pretexts": ("jigsaw", "jigsaw")}, "pretexts must name one or more, each once"),
        ({"grid": 0}, "grid must be at least 1, got 0"),
        ({"weight": 1.5}, r"weight must be from 0 to 1, got 1\.5"),
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"bank_momentum": 2.0}, r"bank_momentum must be from 0 to 1, got 2\.0"),
    ],
)
def test_refuses_settings_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        method(**options)


def test_a_single_sample_has_nothing_to_be_told_from():
    with pytest.raises(ValueError, match="PIRL compares samples: give 2 or more, got 1"):
        PIRL(Pooled(), RunInfo(num_instances=1, batch_size=1, num_batches=1))
