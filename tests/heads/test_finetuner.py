import torch
from torch.testing import assert_close

from ssl_dml.backbones import Embedder
from ssl_dml.heads import ClassWeights, Finetuner
from ssl_dml.margins import NormalisedSoftmax

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def finetuner(spec):
    arguments = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": RESNET}
    embedder = Embedder(spec, **arguments, neck="linear", dim=4)
    return Finetuner(embedder, ClassWeights(4, 3, margin=NormalisedSoftmax(scale=1.0)))


def test_is_the_head_on_the_embeddings_of_all_views(gray):
    made = finetuner(gray).eval()
    views, labels = torch.randn(2, 5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    found = made((list(views), labels), torch.arange(5)).loss
    expected = [made.head(made.embedder(view), labels).loss for view in views]
    assert_close(found, sum(expected) / 2)


def test_a_frozen_backbone_has_neither_gradient_nor_batch_statistics(gray):
    made = finetuner(gray).train()
    made.freeze(True)
    before = {name: value.clone() for name, value in made.embedder.backbone.state_dict().items()}
    made.train()
    made(([torch.randn(4, 1, 8, 8)], torch.tensor([0, 1, 2, 0])), torch.arange(4)).loss.backward()
    assert all(p.grad is None for p in made.embedder.backbone.parameters())
    assert all(p.grad is not None for p in made.embedder.neck.parameters())
    assert_close(made.embedder.backbone.state_dict(), before, rtol=0, atol=0)
    made.freeze(False)
    made(([torch.randn(4, 1, 8, 8)], torch.tensor([0, 1, 2, 0])), torch.arange(4)).loss.backward()
    assert all(p.grad is not None for p in made.embedder.backbone.parameters())
    assert made.embedder.backbone.training


def test_names_the_rows_that_are_kept_apart(gray):
    made = finetuner(gray)
    names = ["head.table.window", "head.table.weight"]
    assert made._ddp_params_and_buffers_to_ignore == names


def test_class_weights_alone_leave_nothing_to_average(gray):
    arguments = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": RESNET}
    embedder = Embedder(gray, **arguments, neck="none")
    head = ClassWeights(embedder.feature_dim, 3, margin=NormalisedSoftmax(scale=1.0))
    made = Finetuner(embedder, head)
    assert made.shares_gradients
    made.freeze(True)
    assert not made.shares_gradients
