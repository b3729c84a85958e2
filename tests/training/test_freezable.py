"""A model whose backbone can be frozen for a while."""

import torch
from torch import nn

from ssl_dml.training.freezable import Freezable


class Model(Freezable):
    """Two encoders and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.other, self.head = nn.BatchNorm1d(2).requires_grad_(False), nn.Linear(2, 1)

    @property
    def encoders(self):
        return [self.backbone, self.other]


def test_what_the_backbone_froze_itself_stays_frozen():
    model = Model()
    model.backbone[0].bias.requires_grad_(False)
    for frozen in (True, True, False, False):
        model.freeze(frozen)
        assert model.backbone[0].weight.requires_grad is not frozen
        assert not model.backbone[0].bias.requires_grad


def test_a_frozen_backbone_and_its_followers_stay_in_evaluation_mode():
    model = Model()
    model.freeze(True)
    model.train()
    assert (model.training, model.head.training) == (True, True)
    assert (model.backbone.training, model.other.training) == (False, False)
    model.freeze(False)
    assert (model.backbone.training, model.other.training) == (True, True)


def test_a_model_whose_all_is_frozen_shares_no_gradients():
    model = Model()
    assert model.shares_gradients
    model.head.requires_grad_(False)
    model.freeze(True)
    assert not model.shares_gradients
    assert torch.is_tensor(model.backbone(torch.ones(2, 2)))
