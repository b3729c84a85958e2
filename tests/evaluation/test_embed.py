import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from ssl_dml.backbones import TimmBackbone
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.sequences import SequenceConfig
from ssl_dml.evaluation import embed, embed_split, encoder, pixel_features, probe_split

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    def make(names, value=0):
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), value or number).save(path)
        config = DataConfig(source=str(tmp_path), cache_dir=tmp_path / ".cache")
        train = load_train(config)
        return train, load_test(config, train)

    return make


def names(split, classes, count):
    return [f"{split}{c}/{i}.png" for c in classes for i in range(count)]


def test_test_images_query_those_of_training(folder):
    train, test = folder(names("train/", "ab", 5) + names("test/", "ba", 2))
    split = probe_split(train, test)
    assert split.query is test
    assert len(split.gallery_rows) == 10
    assert split.query.labels.tolist() == [0, 0, 1, 1]


def test_test_images_of_other_classes_do_not(folder):
    train, test = folder(names("train/", "ab", 10) + names("test/", "cd", 2))
    split = probe_split(train, test)
    assert split.query is train
    rows = torch.cat([split.query_rows, split.gallery_rows])
    assert rows.sort().values.tolist() == list(range(20))
    assert len(split.query_rows) == 2
    assert split.query_rows.tolist() == probe_split(train, None).query_rows.tolist()


def test_a_large_gallery_is_thinned(folder):
    train, test = folder(names("train/", "ab", 10) + names("test/", "ab", 2))
    assert len(probe_split(train, test, max_gallery=7).gallery_rows) == 7


@pytest.mark.parametrize(("files", "words"), [(["1.png", "2.png"], "no labels")])
def test_says_why_there_is_no_probe(folder, files, words):
    assert words in probe_split(*folder(files))


def test_one_class_is_no_probe(folder):
    train, _ = folder(names("", "ab", 2))
    train.labels[:] = 0
    assert "one class" in probe_split(train, None)


def test_embed_keeps_the_order_of_rows(folder):
    train, _ = folder([f"{i:02}.png" for i in range(20)])
    rows = torch.tensor([7, 3, 19, 3])
    found = embed(pixel_features, train, rows, device=CPU, batch_size=3)
    assert (found[:, 0] * 255).round().tolist() == [7, 3, 19, 3]


def test_tables_hold_features_beside_labels(folder):
    train, test = folder(names("train/", "ab", 5) + names("test/", "ab", 2))
    backbone = TimmBackbone(train.spec, name="resnet18", width=0.125).eval()
    gallery, query = embed_split(encoder(backbone, CPU), probe_split(train, test), device=CPU)
    assert gallery.embeddings.shape == (10, backbone.feature_dim)
    assert query.labels.tolist() == [0, 0, 1, 1]


def test_pixels_of_large_images_are_averaged_down():
    assert pixel_features(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 3 * 32 * 32)


def test_pieces_of_a_recording_are_on_one_side(tmp_path):
    rng = np.random.default_rng(0)
    for name in range(40):
        path = tmp_path / f"in/{'ab'[name % 2]}/{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, 500 + 10 * name), 8000)
    sequences = SequenceConfig(sampling_rate=8000, length=100)
    train = load_train(DataConfig(source=str(tmp_path / "in"), sequences=sequences))
    split = probe_split(train, None)
    sides = [{*train.recordings[rows].tolist()} for rows in (split.gallery_rows, split.query_rows)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {*range(40)}
    assert len(split.query_rows) + len(split.gallery_rows) == len(train)
    assert len(train) // 10 <= len(split.query_rows) < len(train) // 10 + 10
