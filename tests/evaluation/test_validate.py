import torch
from torch import nn

from ssl_dml.backbones import Backbone
from ssl_dml.evaluation import retrieval, validate
from ssl_dml.tables import EmbeddingTable


class Pixels(Backbone):
    """The images themselves; it remembers its mode."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim, self.modes = inputs, 784, []

    def forward(self, images):
        self.modes.append(self.training)
        return images.flatten(1)


def test_is_retrieval_among_what_was_held_out_in_eval_mode(clothes):
    queries, gallery = torch.arange(0, 300), torch.arange(300, 900)
    network = Pixels(clothes.spec).train()
    among, against = (
        validate(network, clothes, queries, rows, device=torch.device("cpu"))
        for rows in (None, gallery)
    )
    assert network.training
    assert not any(network.modes)

    def table(rows):
        values = clothes[rows][0].float() / 255
        values = (values - clothes.spec.mean[0]) / clothes.spec.std[0]
        return EmbeddingTable(embeddings=values.flatten(1), labels=clothes.labels[rows])

    for found, expected in (
        (among, retrieval(table(queries))),
        (against, retrieval(table(gallery), table(queries))),
    ):
        assert {name: found[name] for name in expected} == expected
        assert "rankme" in found


def test_few_samples_are_measured_at_fewer_neighbors(clothes):
    rows = torch.arange(4)
    found = validate(Pixels(clothes.spec), clothes, rows, None, device=torch.device("cpu"))
    assert "recall_at_2" in found
    assert "recall_at_4" not in found


def test_a_part_that_is_held_in_eval_stays_so(clothes):
    network = Pixels(clothes.spec)
    network.held, network.free = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    network.train()
    network.held.eval()
    validate(network, clothes, torch.arange(20), None, device=torch.device("cpu"))
    assert (network.training, network.held.training, network.free.training) == (True, False, True)
