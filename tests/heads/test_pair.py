"""The head of pair losses beside values computed elsewhere, with a memory, and at its extremes."""

import math
from collections import deque

import pytest
import torch
import torch.nn.functional as F
from public_forms import PlainContrastive
from rows import batch, small, value_and_gradient
from torch.testing import assert_close

from ssl_dml.heads import PairHead
from ssl_dml.losses import (
    Circle,
    Contrastive,
    FacilityLocation,
    GeneralizedLifted,
    Lifted,
    MultiSimilarity,
    NPair,
    SmoothAP,
    Triplet,
)
from ssl_dml.mining import BatchHard, DistanceWeighted, FaceNet, MultiSimilarityMiner, SemiHard
from ssl_dml.types import LabeledEmbeddings

LOSSES = {
    "contrastive": Contrastive,
    "triplet": Triplet,
    "triplet_soft": lambda: Triplet(margin=None),
    "lifted": Lifted,
    "lifted_generalized": GeneralizedLifted,
    "n_pair": NPair,
    "multi_similarity": MultiSimilarity,
    "circle": Circle,
    "smooth_ap": SmoothAP,
    "facility_location": FacilityLocation,
}
MINERS = {
    "none": lambda: None,
    "semi_hard": SemiHard,
    "facenet": FaceNet,
    "batch_hard": BatchHard,
    "multi_similarity": MultiSimilarityMiner,
    "distance_weighted": DistanceWeighted,
}
MINED = [name for name in LOSSES if name not in ("n_pair", "facility_location")]
# The weights of the circle loss have no gradient, so its own is not that of its value.
DIFFERENTIABLE = [name for name in LOSSES if name != "circle"]
over_all = pytest.mark.parametrize("name", LOSSES)
LIFTED_GRADIENT = [
    [-0.3917275330744795, 0.8364361591331123, -0.10733766146898804],
    [-0.8128181659350674, -0.4082070377921641, 0.36596517687455843],
    [-0.14160422906245335, -1.0060791156050748, 0.9603715631835524],
    [0.447300481284961, -0.25406790293372283, -0.4110369769468015],
    [0.818711861886027, -0.2776618747059331, -0.1757076922974876],
    [0.08013758490101225, 1.1095797719037823, -0.6322544093448337],
]


def head(name="triplet", dim=3, **options):
    return PairHead(dim, 3, loss=LOSSES[name](), **options).double()


def loss_of(model):
    return lambda rows, labels: model(rows, labels).loss


def lengths(rows):
    return [[x / math.hypot(*row) for x in row] for row in rows]


def triplets(rows, labels, references, classes, margin=0.2):
    """Mean hinge of a batch against its own rows and earlier ones, triplet by triplet."""
    hinges = [
        max(0, math.dist(row, near) - math.dist(row, far) + margin)
        for a, row in enumerate(rows)
        for p, near in enumerate(references)
        for n, far in enumerate(references)
        if p != a and classes[p] == labels[a] and classes[n] not in (labels[a], -1)
    ]
    return sum(hinges) / len(hinges)


def test_value_and_gradient_computed_elsewhere():
    rows, labels = small()
    model = head("lifted", normalize=False)
    value, gradient = value_and_gradient(loss_of(model), rows.requires_grad_(), labels)
    assert_close(value.item(), 3.2810935728825226, rtol=1e-9, atol=0)
    assert_close(gradient, torch.tensor(LIFTED_GRADIENT, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_rows_are_normalized_before_a_loss_that_does_not():
    rows, labels = batch(classes=3, dim=3)
    unit = lengths(rows.tolist())
    expected = triplets(unit, labels.tolist(), unit, labels.tolist())
    found, gradient = value_and_gradient(loss_of(head()), rows, labels)
    assert_close(found.item(), expected, rtol=1e-10, atol=0)
    # A unit row does not change with the length of its own.
    assert_close((gradient * rows).sum(dim=1), torch.zeros(len(rows)).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient(name):
    rows, labels = batch(classes=3, of_each=2, dim=3)
    model = head(name).eval()
    assert torch.autograd.gradcheck(lambda rows: model(rows, labels).loss, rows)


def test_second_step_of_a_memory_computed_elsewhere():
    rows, labels = small()
    loss = PlainContrastive()
    model = PairHead(3, 3, loss=loss, normalize=False, memory_size=6).double()
    model(rows[::2], labels[::2])
    assert_close(model(rows[1::2], labels[1::2]).loss.item(), 0.6676622186566209)


@pytest.mark.parametrize("size", [4, 7, 12, 40])
def test_a_memory_holds_the_rows_of_the_batches_before(size):
    """Beside a queue of Python; sizes that a batch fills, wraps around, and never fills."""
    model = head("triplet", memory_size=size)
    before = deque(maxlen=size)
    for _ in range(5):
        rows, labels = batch(classes=3, of_each=2, dim=3)
        unit, own = lengths(rows.tolist()), labels.tolist()
        references = unit + [row for row, _ in before]
        expected = triplets(unit, own, references, own + [label for _, label in before])
        value, gradient = value_and_gradient(loss_of(model), rows, labels)
        assert_close(value.item(), expected, rtol=1e-10, atol=0)
        held = LabeledEmbeddings(
            torch.tensor([row for row, _ in before], dtype=torch.float64).view(-1, 3),
            torch.tensor([label for _, label in before]).long(),
        )
        _, alike = value_and_gradient(
            lambda rows, labels, held=held: Triplet()(F.normalize(rows, dim=1), labels, held),
            rows,
            labels,
        )
        assert_close(gradient, alike)
        before.extend(zip(unit, own, strict=True))


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("name", MINED)
def test_a_loss_is_given_what_the_miner_and_the_memory_have(name, miner):
    model = head(name, miner=MINERS[miner](), memory_size=8)
    first, labels = batch(classes=3, of_each=2, dim=3)
    model(first, labels)
    rows, own = batch(classes=3, of_each=2, dim=3)
    held = LabeledEmbeddings(
        torch.cat([F.normalize(first.detach(), dim=1), torch.zeros(2, 3).double()]),
        torch.cat([labels, torch.tensor([-1, -1])]),
    )
    unit = F.normalize(rows, dim=1)
    chooser = MINERS[miner]()
    if hasattr(chooser, "step"):
        chooser.step += 1  # the first batch was mined too
    mined = None if chooser is None else chooser(unit.detach(), own, held)
    found, logs = model(rows, own)
    assert_close(found, LOSSES[name]()(unit, own, held, mined))
    if mined is not None:
        assert logs["mined_triplets"] == (mined.high - mined.low).sum()


def test_a_memory_that_is_used_later_is_filled_from_the_start():
    late, never = head("contrastive", memory_size=9, memory_warmup_batches=2), head("contrastive")
    always = head("contrastive", memory_size=9)
    for step in range(3):
        rows, labels = batch(classes=3, of_each=2, dim=3)
        found, plain, beside = (model(rows, labels).loss for model in (late, never, always))
        assert_close(found, plain if step < 2 else beside)
    assert plain != beside


@over_all
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [5]])
def test_a_batch_that_teaches_nothing_is_skipped_and_counted(name, labels):
    model = head(name)
    for count in (1, 2):
        rows = torch.randn(len(labels), 3, dtype=torch.float64, requires_grad=True)
        loss, logs = model(rows, torch.tensor(labels))
        assert loss == 0
        assert (torch.autograd.grad(loss, rows)[0] == 0).all()
        assert logs["batches_without_pairs"] == count
    assert model.eval()(rows, torch.tensor(labels)).logs["batches_without_pairs"] == 2
    usual = model.train()(*batch(classes=3, dim=3)).logs
    assert usual["batches_without_pairs"] == 2


def test_a_memory_gives_pairs_to_a_batch_that_has_none():
    model = head("contrastive", memory_size=4)
    assert model(*batch(classes=4, of_each=1, dim=3)).logs["batches_without_pairs"] == 1
    loss, logs = model(*batch(classes=4, of_each=1, dim=3))
    assert loss > 0
    assert logs["batches_without_pairs"] == 1


@over_all
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_is_finite_at_duplicates_and_opposites(name, dtype):
    one = torch.randn(1, 8)
    rows = torch.cat([one, one, one, -one, -one, one]).to(dtype).requires_grad_()
    memory = {} if name == "facility_location" else {"memory_size": 12}
    model = PairHead(8, 3, loss=LOSSES[name](), **memory)
    for _ in range(2):  # the second time beside the same rows
        value, gradient = value_and_gradient(loss_of(model), rows, torch.tensor([0, 0, 1, 1, 2, 2]))
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert gradient.isfinite().all()


@over_all
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(name, dtype):
    rows, labels = batch(dtype=torch.float32)
    model = PairHead(5, 6, loss=LOSSES[name]())
    plain = value_and_gradient(loss_of(model), rows, labels)
    with torch.autocast("cpu", dtype=dtype):
        within = model(rows, labels).loss
    assert_close((within, torch.autograd.grad(within, rows)[0]), plain, rtol=0, atol=0)


@over_all
@pytest.mark.parametrize("spoiled", [1, 12])
def test_what_is_not_a_number_stays_so(name, spoiled):
    """The training loop names it; a loss must not hide it."""
    rows, labels = batch(classes=3, dim=3)
    rows = rows.detach().index_fill(0, torch.arange(spoiled), math.nan).requires_grad_()
    value, gradient = value_and_gradient(loss_of(head(name)), rows, labels)
    assert not (value.isfinite() and gradient.isfinite().all())


def test_evaluation_moves_nothing():
    model = head(memory_size=5).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(*batch(classes=3, dim=3))
    assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_checkpoint_holds_the_memory_and_where_it_is_written_next():
    batches = [batch(classes=3, of_each=2, dim=3) for _ in range(6)]
    first, second = (
        head(miner=DistanceWeighted(), memory_size=8, memory_warmup_batches=1) for _ in range(2)
    )
    for rows, labels in batches[:3]:
        first(rows, labels)
    second.load_state_dict(first.state_dict())
    assert second.memory.pointer == 18 % 8
    for rows, labels in batches[3:]:
        assert second(rows, labels).loss == first(rows, labels).loss
    assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)


def test_to_check_the_arguments_draws_nothing_and_moves_nothing():
    before = torch.get_rng_state()
    model = head(miner=DistanceWeighted(), memory_size=2)
    assert model.miner.step == 0
    assert (model.memory.labels == -1).all()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": Contrastive(margin=0.0)}, "margin must be positive, got 0.0"),
        ({"loss": NPair(), "miner": FaceNet()}, "NPair makes its own pairs: leave the miner out"),
        ({"loss": FacilityLocation(), "memory_size": 8}, "leave out miner and memory"),
        ({"loss": Triplet(), "memory_size": -1}, "memory_size must be at least 0, got -1"),
        (
            {"loss": Triplet(), "memory_warmup_batches": -2},
            "memory_warmup_batches must be at least 0, got -2",
        ),
    ],
)
def test_errors_come_before_training(options, words):
    with pytest.raises(ValueError, match=words):
        PairHead(3, 3, **options)


def test_a_row_without_a_label_is_named():
    with pytest.raises(ValueError, match="labels must be at least 0, got -1: leave out samples"):
        head()(torch.randn(3, 3), torch.tensor([0, -1, 1]))
    assert head()(torch.randn(4, 3), torch.tensor([7, 7, 9, 9])).loss.isfinite()
