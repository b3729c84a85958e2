import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ssl_dml.data import DataConfig, load_train
from ssl_dml.reporting import finish, projector_rows, show_embeddings, start_trackers


def started(folder, names=("tensorboard",)):
    accelerator = Accelerator(cpu=True)
    start_trackers(accelerator, folder, step=0, steps=2, steps_per_epoch=1.0, names=names)
    return accelerator


def six_images(folder, **options):
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(folder / label / f"tab\t{i}.png")
    return load_train(DataConfig(source=str(folder), **options))


@pytest.mark.parametrize("labeled", [True, False])
def test_the_projector_has_names_classes_and_thumbnails(tmp_path, labeled):
    samples = six_images(tmp_path / "images", use_labels=labeled)
    rows = projector_rows(samples)
    accelerator = started(tmp_path)
    show_embeddings(accelerator, torch.eye(6), samples, rows, step=7)
    finish(accelerator)
    folder = tmp_path / "tensorboard/00007/embeddings"
    lines = (folder / "metadata.tsv").read_text().splitlines()
    assert lines[0] == "name\tclass"
    assert lines[1].endswith(f"a/tab\\t0.png\t{'a' if labeled else 'none'}")
    assert len(lines) == len((folder / "tensors.tsv").read_text().splitlines()) + 1 == 7
    assert Image.open(folder / "sprite.png").size == (96, 96)


def tags(folder):
    events = EventAccumulator(str(folder / "tensorboard"), {"images": 0, "histograms": 0})
    found = events.Reload().Tags()
    return {*found["images"]}, {*found["histograms"]}, events


@pytest.mark.parametrize("labeled", [True, False])
def test_tensorboard_has_the_pictures_of_the_report(tmp_path, labeled):
    samples = six_images(tmp_path / "images", use_labels=labeled)
    accelerator = started(tmp_path)
    turned = torch.tensor([0.0, 0.1, 3.0, 3.1, 3.2, 0.2])  # a, a, b-like a, b, b, a-like b
    features = torch.stack([turned.cos(), turned.sin()], dim=1)
    show_embeddings(accelerator, features, samples, torch.arange(6), step=7)
    finish(accelerator)
    images, histograms, events = tags(tmp_path)
    always = {"neighbors", "isolated", "hubs"}
    assert images == (always | {"mistakes"} if labeled else always)
    assert histograms == ({"cosine/same_class", "cosine/other_class"} if labeled else set())
    strips = events.Images("neighbors")[0]
    assert (strips.step, strips.width, strips.height) == (7, 36 * 6, 36 * 6)
    if labeled:
        assert events.Images("mistakes")[0].height >= 2 * 36  # those that lie with the other class
        same = events.Histograms("cosine/same_class")[0].histogram_value
        assert (same.num, same.max <= 1) == (6, True)


def test_embeddings_that_are_not_finite_are_not_shown(tmp_path):
    accelerator = started(tmp_path)
    samples = six_images(tmp_path / "images")
    rows = torch.arange(2)
    show_embeddings(accelerator, torch.full((2, 2), torch.nan), samples, rows, step=7)
    finish(accelerator)
    assert not (tmp_path / "tensorboard/00007").exists()


def test_without_tensorboard_nothing_is_written(tmp_path):
    accelerator = started(tmp_path, ())
    samples = six_images(tmp_path / "images")
    show_embeddings(accelerator, torch.eye(2), samples, torch.arange(2), step=7)
    finish(accelerator)
    assert not (tmp_path / "tensorboard").exists()
