"""A method whose backbone is frozen for a while."""

import torch

from ssl_dml.backbones import TimmBackbone
from ssl_dml.methods import NPID, MoCo, RunInfo
from ssl_dml.training import Pretrainer
from ssl_dml.types import Batch

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
TASK = RunInfo(num_instances=40, batch_size=8, num_batches=3)


def test_in_a_warm_up_the_projector_alone_learns(gray):
    method = MoCo(TimmBackbone(gray, **RESNET), TASK, queue_size=8, output_dim=8, parts=2)
    model = Pretrainer(method)
    model.freeze(True)
    model.train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    model(Batch([torch.randn(8, 1, 8, 8)] * 2, torch.arange(8))).loss.backward()
    grads = {name for name, p in method.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in grads} == {"projector"}
    moved = {n for n, v in method.state_dict().items() if not torch.equal(v, before[n])}
    assert not {name.split(".")[0] for name in moved} & {"backbone", "key_backbone"}
    model.freeze(False)
    assert all(p.requires_grad for p in method.backbone.parameters())
    assert not any(p.requires_grad for p in method.key_backbone.parameters())
    assert method.backbone.training
    assert method.key_backbone.training


def test_the_memory_bank_is_left_to_the_method(gray):
    model = Pretrainer(NPID(TimmBackbone(gray, **RESNET), TASK, negatives=4, output_dim=8))
    assert model._ddp_params_and_buffers_to_ignore == ["method.bank.embeddings"]
    assert model.shares_gradients
