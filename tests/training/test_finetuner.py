import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import Embedder
from ssl_dml.heads import Head, MarginSoftmax
from ssl_dml.margins import NormalizedSoftmax
from ssl_dml.training.finetuner import Finetuner
from ssl_dml.types import Batch, StepOutput

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def finetuner(spec):
    arguments = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": RESNET}
    embedder = Embedder(spec, **arguments, neck="linear", dim=4)
    return Finetuner(embedder, MarginSoftmax(4, 3, margin=NormalizedSoftmax(scale=1.0)))


def test_is_the_head_on_the_embeddings_of_all_views(gray):
    made = finetuner(gray).eval()
    views, labels = torch.randn(2, 5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    found = made(Batch(list(views), torch.arange(5), labels)).loss
    expected = [made.head(made.embedder(view), labels).loss for view in views]
    assert_close(found, sum(expected) / 2)


def test_views_of_a_sample_stay_together_whatever_the_part_of_the_batch(gray):
    class Seen(Head):
        def forward(self, embeddings, labels):
            self.seen = embeddings, labels
            return StepOutput(embeddings.sum(), {})

    arguments = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": RESNET}
    made = Finetuner(Embedder(gray, **arguments, neck="linear", dim=4), Seen(4, 6)).eval()
    views, labels = torch.randn(2, 6, 1, 8, 8), torch.arange(6)
    made(Batch(list(views), torch.arange(6), labels))
    whole = made.head.seen
    parts = []
    for part in (slice(0, 3), slice(3, 6)):
        made(Batch(list(views[:, part]), torch.arange(3), labels[part]))
        parts.append(made.head.seen)
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        assert_close(torch.cat(several), one)
    assert whole[1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_what_a_backbone_holds_itself_stays_held(gray):
    made = finetuner(gray)
    held = next(iter(made.embedder.backbone.parameters())).requires_grad_(False)
    again = Finetuner(made.embedder, made.head)
    for frozen in (True, False):
        again.freeze(frozen)
        assert not held.requires_grad
    assert sum(p.requires_grad for p in again.embedder.backbone.parameters()) > 4


def test_a_frozen_backbone_has_neither_gradient_nor_batch_statistics(gray):
    made = finetuner(gray).train()
    batch = Batch([torch.randn(4, 1, 8, 8)], torch.arange(4), torch.tensor([0, 1, 2, 0]))
    made.freeze(True)
    before = {name: value.clone() for name, value in made.embedder.backbone.state_dict().items()}
    made.train()
    made(batch).loss.backward()
    assert all(p.grad is None for p in made.embedder.backbone.parameters())
    assert all(p.grad is not None for p in made.embedder.neck.parameters())
    assert_close(made.embedder.backbone.state_dict(), before, rtol=0, atol=0)
    made.freeze(False)
    made(batch).loss.backward()
    assert all(p.grad is not None for p in made.embedder.backbone.parameters())
    assert made.embedder.backbone.training


def test_names_the_class_weights_that_processes_do_not_share(gray):
    embedder = finetuner(gray).embedder
    margin = NormalizedSoftmax(scale=1.0)
    names = ["head.class_weights.active", "head.class_weights.weight"]
    for how in ({"sample_rate": 0.5}, {"sharded": True}):
        made = Finetuner(embedder, MarginSoftmax(4, 3, margin=margin, **how))
        assert made._ddp_params_and_buffers_to_ignore == names
    assert finetuner(gray)._ddp_params_and_buffers_to_ignore == []


@pytest.mark.parametrize(("how", "alone"), [({"sharded": True}, False), ({}, True)])
def test_split_class_weights_alone_leave_nothing_to_average(gray, how, alone):
    arguments = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": RESNET}
    embedder = Embedder(gray, **arguments, neck="none")
    margin = NormalizedSoftmax(scale=1.0)
    made = Finetuner(embedder, MarginSoftmax(embedder.feature_dim, 3, margin=margin, **how))
    assert made.shares_gradients
    made.freeze(True)
    assert made.shares_gradients == alone
