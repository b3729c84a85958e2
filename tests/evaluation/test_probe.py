import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.augment import Gray, SequenceViews
from ssl_dml.backbones import Backbone, TimmBackbone
from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.sequences import SequenceConfig
from ssl_dml.evaluation import ProbeConfig, baseline, probe, probe_split
from ssl_dml.evaluation.probe import open_probe
from ssl_dml.tables import EmbeddingTable

CPU = torch.device("cpu")


@pytest.fixture
def made(tmp_path):
    for label, value in (("dark", 40), ("light", 220)):
        (tmp_path / label).mkdir()
        for i in range(20):
            Image.new("L", (8, 8), value + i - 10).save(tmp_path / label / f"{i}.png")
    train = load_train(DataConfig(source=str(tmp_path)))
    backbone = TimmBackbone(train.spec, name="resnet18", width=0.125)
    return train, backbone, Gray(train.spec)


def test_measures_accuracy_and_health_and_leaves_no_trace(made):
    train, backbone, augment = made
    backbone.train()
    state, mode = torch.get_rng_state(), {n: v.clone() for n, v in backbone.state_dict().items()}
    config = ProbeConfig(k=3)
    found = [
        probe(backbone, train, probe_split(train, None), augment, config=config, device=CPU)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert set(found[0]) == {"knn_top1", "rankme", "uniformity", "spread", "alignment"}
    assert backbone.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, mode[n]) for n, v in backbone.state_dict().items())


def test_without_labels_health_remains(made):
    train, backbone, augment = made
    found = probe(backbone, train, None, augment, config=ProbeConfig(), device=CPU)
    assert set(found) == {"rankme", "uniformity", "spread", "alignment"}
    assert baseline(None, config=ProbeConfig(), device=CPU) == {}


def test_raw_pixels_are_a_baseline(made):
    train, _, _ = made
    found = baseline(probe_split(train, None), config=ProbeConfig(k=3), device=CPU)
    assert 0 <= found["raw_pixels_knn_top1"] <= 1


class Pooled(Backbone):
    """One convolution, pooled over time."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, 8
        self.layer = torch.nn.Conv1d(inputs.channels, 8, 16, stride=4)

    def forward(self, samples):
        return self.layer(samples).relu().mean(2)


@pytest.mark.parametrize(("rate", "name"), [(8000, "log_mel"), (None, "raw_values")])
def test_sequences_are_probed_beside_their_own_baseline(tmp_path, rate, name):
    """Tones of two heights: the spectrum tells them apart, the values at random phase do not."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    hertz = np.where(labels, 1000, 500)[:, None]
    x = np.sin(2 * np.pi * (hertz * np.arange(800) / 8000 + rng.uniform(size=(60, 1))))
    np.savez(tmp_path / "x.npz", x=x, y=labels)
    config = DataConfig(
        source=str(tmp_path / "x.npz"), sequences=SequenceConfig(sampling_rate=rate)
    )
    train = load_train(config)
    split = probe_split(train, None)
    assert split.description == "6 held-out training samples query 54 training samples"
    augment = SequenceViews(train.spec, window=400)
    config = ProbeConfig(k=3)
    found = probe(Pooled(train.spec), train, split, augment, config=config, device=CPU)
    assert set(found) == {"knn_top1", "rankme", "uniformity", "spread", "alignment"}
    (measured,) = baseline(split, config=config, device=CPU).items()
    assert measured[0] == f"{name}_knn_top1"
    assert name == "raw_values" or measured[1] == 1.0


def test_k_above_the_gallery_is_named(made):
    split = probe_split(made[0], None)
    ProbeConfig(k=36).check(split)
    with pytest.raises(ConfigError, match=r"evaluation\.k must be at most .* 36; got 37"):
        ProbeConfig(k=37).check(split)


def test_the_k_that_is_named_works(made):
    with pytest.raises(ConfigError, match=r"got 200: set it to 36 or less$"):
        open_probe(made[0], None, ProbeConfig(k=200))
    assert open_probe(made[0], None, ProbeConfig(k=36)) is not None


def test_refuses_settings_that_cannot_be():
    with pytest.raises(ConfigError, match=r"evaluation\.k must be at least 1, got 0"):
        ProbeConfig(k=0)


def test_more_can_be_measured_of_what_was_seen(made):
    train, backbone, augment = made
    config, seen = ProbeConfig(k=3), []

    def look(found):
        seen.append(found)
        return {"mine": 7.0}

    settings = {"config": config, "device": CPU, "look": look}
    found = probe(backbone, train, probe_split(train, None), augment, **settings)
    assert found["mine"] == 7.0
    assert seen[0].correct.double().mean().item() == found["knn_top1"]
    assert len(seen[0].gallery.labels) == len(seen[0].features) == 36
    probe(backbone, train, None, augment, **settings)
    assert (seen[1].gallery, seen[1].correct) == (None, None)


def test_a_tenth_of_the_gallery_is_held_out_with_fewer_votes_if_need_be():
    labels = torch.arange(12) % 2
    gallery = EmbeddingTable(embeddings=torch.eye(2)[labels], labels=labels)
    assert ProbeConfig(k=3).held_out(gallery) == 1.0
    assert ProbeConfig(k=12).held_out(gallery) in (0.0, 1.0)  # one query, 11 votes


def test_a_single_class_that_is_left_is_what_is_said():
    gallery = EmbeddingTable(embeddings=torch.eye(12), labels=torch.zeros(12, dtype=torch.long))
    assert ProbeConfig(k=3).held_out(gallery) == 1.0


@pytest.mark.parametrize("every_epochs", [1, 2, 5, 10])
@pytest.mark.parametrize(
    ("samples", "queries"), [(10_000, 1_000), (60_000, 10_000), (10**6, 50_000)]
)
def test_a_probe_costs_at_most_a_tenth_of_the_training_between_two(every_epochs, samples, queries):
    """Counted in forward passes: one for what is embedded, three for what is trained on."""
    config = ProbeConfig(every_epochs=every_epochs)
    gallery = config.gallery_for(samples, queries)
    cost = min(gallery, samples) + queries + 2 * 512
    training = 3 * every_epochs * samples
    assert 10_000 <= gallery <= 100_000
    if gallery > 10_000:
        assert cost <= training / 10
    if gallery < min(samples, 100_000) and gallery > 10_000:
        assert cost == training // 10  # no smaller than need be


def test_a_gallery_that_is_thinned_is_said_and_the_same_each_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules[ProbeConfig.__module__], "LEAST_GALLERY", 1_000)
    for label in range(2):
        (tmp_path / str(label)).mkdir()
        for i in range(1500):
            Image.new("L", (2, 2), 100 * label + i % 90).save(tmp_path / str(label) / f"{i}.bmp")
    train = load_train(DataConfig(source=str(tmp_path), image_size=2))
    splits = [open_probe(train, None, ProbeConfig(every_epochs=1)) for _ in range(2)]
    said = (
        "probe: 300 held-out training samples query 1,000 training samples of 2,700, so that "
        "probes take at most a tenth of training; evaluation.max_gallery sets another number\n"
    )
    assert capsys.readouterr().out.count(said) == 2
    assert torch.equal(splits[0].gallery_rows, splits[1].gallery_rows)
    split = open_probe(train, None, ProbeConfig(every_epochs=1, max_gallery=2_000))
    assert len(split.gallery_rows) == 2_000
    assert "a tenth" not in capsys.readouterr().out
    assert len(open_probe(train, None, ProbeConfig(every_epochs=10)).gallery_rows) == 2_700
