import pytest
import torch
from torch import nn

from ssl_dml.backbones import Backbone
from ssl_dml.data import DataConfig, load_train
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


@pytest.fixture(scope="module")
def samples():
    return load_train(DataConfig(source="fashion_mini"))


def test_is_retrieval_among_what_was_held_out_in_eval_mode(samples):
    queries, gallery = torch.arange(0, 300), torch.arange(300, 900)
    network = Pixels(samples.spec).train()
    among, against = (
        validate(network, samples, queries, rows, device=torch.device("cpu"))
        for rows in (None, gallery)
    )
    assert network.training
    assert not any(network.modes)

    def table(rows):
        values = samples[rows][0].float() / 255
        values = (values - samples.spec.mean[0]) / samples.spec.std[0]
        return EmbeddingTable(embeddings=values.flatten(1), labels=samples.labels[rows])

    for found, expected in (
        (among, retrieval(table(queries))),
        (against, retrieval(table(gallery), table(queries))),
    ):
        assert {name: found[name] for name in expected} == expected
        assert "rankme" in found


def test_few_samples_are_measured_at_fewer_neighbors(samples):
    rows = torch.arange(4)
    found = validate(Pixels(samples.spec), samples, rows, None, device=torch.device("cpu"))
    assert "recall_at_2" in found
    assert "recall_at_4" not in found


def test_a_part_that_is_held_in_eval_stays_so(samples):
    network = Pixels(samples.spec)
    network.held, network.free = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    network.train()
    network.held.eval()
    validate(network, samples, torch.arange(20), None, device=torch.device("cpu"))
    assert (network.training, network.held.training, network.free.training) == (True, False, True)
