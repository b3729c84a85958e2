"""The toolkit from Python: lazy names, embedding as in training, runs as functions."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tifffile
import torch
from numpy.testing import assert_allclose
from PIL import Image

import ssl_dml
from ssl_dml.augment import Normalize
from ssl_dml.backbones import SequenceBackbone, TimmBackbone, save
from ssl_dml.data.recordings import SequenceDecoder
from ssl_dml.types import ImageSpec, SequenceSpec

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
NAME = "ssl_dml.backbones.TimmBackbone"
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """A saved backbone for RGB images of 16 pixels."""
    spec = ImageSpec(channels=3, size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.2))
    torch.manual_seed(0)
    backbone = TimmBackbone(spec, **RESNET).eval()
    path = tmp_path / "run/backbone"
    save(backbone, path, "ssl_dml.backbones.TimmBackbone", RESNET, trained={"data": {}})
    (tmp_path / "run/config.yaml").touch()
    return path


def test_names_come_when_they_are_used():
    found = subprocess.run(
        [sys.executable, "-c", "import sys, ssl_dml; print('torch' in sys.modules, dir(ssl_dml))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found.startswith("False ")
    assert "losses" in found
    assert ssl_dml.losses.nt_xent is not None
    assert set(ssl_dml.__all__) <= set(dir(ssl_dml))
    assert all(getattr(ssl_dml, name) is not None for name in ssl_dml.__all__)
    with pytest.raises(AttributeError, match="no attribute 'picture'"):
        _ = ssl_dml.picture


def test_images_of_every_form_are_embedded_as_in_training(folder, tmp_path):
    pixels = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    model = ssl_dml.load(folder, device="cpu")
    samples = [tmp_path / "image.png", str(tmp_path / "image.png"), Image.fromarray(pixels), pixels]
    rows = model.embed(samples, batch_size=3)
    stored = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = model.backbone(Normalize(model.backbone.inputs)(stored))
    assert rows.dtype == np.float32
    assert rows.shape == (4, model.dim)
    for row in rows:
        assert_allclose(row, expected[0].numpy(), rtol=1e-5, atol=1e-6)
    assert_allclose(model.embed(pixels), rows[:1], rtol=1e-5, atol=1e-6)
    assert model.embed([]).shape == (0, model.dim)


def test_a_file_is_read_as_in_training_whatever_pillow_makes_of_it(tmp_path):
    spec = ImageSpec(channels=6, size=16, mean=(0.5,) * 6, std=(0.2,) * 6)
    save(TimmBackbone(spec, **RESNET), tmp_path / "b", NAME, RESNET, trained={"data": {}})
    bands = RNG.integers(0, 256, (16, 16, 6)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    np.save(tmp_path / "bands.npy", bands)
    model = ssl_dml.load(tmp_path / "b", device="cpu")
    rows = model.embed([tmp_path / "bands.tif", str(tmp_path / "bands.npy"), bands])
    assert np.ptp(rows, axis=0).max() == 0


def test_a_run_folder_stands_for_its_last_model(folder):
    gray = np.full((20, 30), 7, np.uint8)
    one, other = (ssl_dml.load(path, device="cpu").embed(gray) for path in (folder, folder.parent))
    assert_allclose(one, other, rtol=0, atol=0)


def test_a_sample_that_cannot_be_read_is_named(folder, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no image")
    model = ssl_dml.load(folder, device="cpu")
    with pytest.raises(ValueError, match=r"no\.png cannot be embedded: "):
        model.embed([tmp_path / "no.png"])
    with pytest.raises(ValueError, match=r"gone\.png cannot be embedded: "):
        model.embed(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"sample 1 cannot be embedded: .*channels"):
        model.embed([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 5), np.uint8)])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        model.embed([], batch_size=0)


def test_a_run_without_a_model_is_named(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ValueError, match="has no backbone yet: finish the run with --resume true"):
        ssl_dml.load(tmp_path)
    with pytest.raises(ValueError, match=r"lacks backbone\.json"):
        ssl_dml.load(tmp_path / "nothing")


def test_recordings_are_resampled_and_cut(tmp_path):
    spec = SequenceSpec(channels=1, length=640, mean=(0.0,), std=(0.1,), sampling_rate=8000)
    options = {"width": 8, "context_dim": 8}
    save(
        SequenceBackbone(spec, **options).eval(),
        tmp_path / "backbone",
        "ssl_dml.backbones.SequenceBackbone",
        options,
        trained={},
    )
    wave = RNG.uniform(-0.5, 0.5, 2000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    model = ssl_dml.load(tmp_path / "backbone", device="cpu")
    rows = model.embed([tmp_path / "a.wav", wave, wave[None]])
    assert rows.shape == (3, 8)
    assert_allclose(rows[1:], rows[[0, 0]], rtol=1e-3, atol=1e-4)


def test_recordings_are_trimmed_as_in_training(tmp_path):
    wave = RNG.uniform(-0.5, 0.5, 800).astype(np.float32)
    for name, values in (("a", wave), ("b", np.pad(wave, (2000, 1000)))):
        soundfile.write(tmp_path / f"{name}.wav", values, 8000, subtype="FLOAT")
    spec = SequenceSpec(channels=1, length=640, mean=(0.0,), std=(0.1,), sampling_rate=8000)
    backbone = SequenceBackbone(spec, width=8, context_dim=8)
    for trim in (30.0, None):
        decoder = SequenceDecoder(
            channels=1, length=640, sampling_rate=8000, kept_as="int16", trim=trim
        )
        model = ssl_dml.EmbeddingModel(backbone, decoder, torch.device("cpu"))
        start = 2000 - 160 if trim else 0  # 20 ms before the sound
        part = np.pad(wave, (2000, 1000))[start : start + 640]
        untrimmed = ssl_dml.EmbeddingModel(
            backbone, dataclasses.replace(decoder, trim=None), torch.device("cpu")
        )
        rows = model.embed([tmp_path / "b.wav", np.pad(wave, (2000, 1000))])
        assert_allclose(rows, untrimmed.embed([part, part]), rtol=1e-3, atol=1e-4)


def test_a_run_as_a_function(tmp_path):
    for number in range(20):
        pixels = RNG.integers(0, 256, (12, 12)).astype(np.uint8)
        (tmp_path / f"images/{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{number % 2}/{number}.png")
    common = {"data": {"batch_size": 8, "cache_dir": str(tmp_path)}, "steps": 2}
    model = ssl_dml.pretrain(
        tmp_path / "images", output_dir=tmp_path / "run", evaluation={"k": 2}, **common
    )
    assert model.embed(pixels).shape == (1, 128)
    tuned = ssl_dml.finetune(
        tmp_path / "images",
        init=tmp_path / "run/backbone",
        output_dir=tmp_path / "tuned",
        embedding_dim=16,
        validation={"fraction": None},
        **common,
    )
    assert tuned.embed(pixels).shape == (1, 16)
    with pytest.raises(ValueError, match="exists already"):
        ssl_dml.pretrain(tmp_path / "images", output_dir=tmp_path / "run", steps=2)
