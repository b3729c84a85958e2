"""``ssl_dml export`` as a user runs it: what it writes, checks and refuses."""

import json
import shutil
from importlib.util import find_spec

import jaxtyping
import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from torch import nn

import ssl_dml
from ssl_dml.backbones import Backbone, TimmBackbone, save
from ssl_dml.commands import export
from ssl_dml.evaluation.sketch import write_sketch
from ssl_dml.exporting import graph
from ssl_dml.tables import EmbeddingTable, StoredTable, TableInfo
from ssl_dml.types import ConfigError, ImageSpec

SPEC = ImageSpec(channels=3, size=16, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
RESNET = {"name": "resnet18", "stem": "standard", "options": {"layers": [1, 1, 1, 1]}}

KINDS = [("onnx", "a.onnx"), pytest.param("torch_export", "a.pt2", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def _traceable(monkeypatch):
    """A traced size is a symbol, which is no integer to the checks of shapes in tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Tiny(Backbone):
    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, 6
        self.layer = nn.Linear(inputs.channels * 4 * 4, 6)

    def forward(self, images):
        return self.layer(nn.functional.avg_pool2d(images, 4).flatten(1))


def make_run(folder, backbone, class_path, init_args, source):
    folder.mkdir()
    data = {
        "source": str(source),
        "samples": 12,
        "test_samples": 100,
        "test_labels": {"classes": 2},
    }
    trained = {"method": "ssl_dml.methods.SimCLR", "steps": 3, "data": data}
    save(backbone, folder / "backbone", class_path, init_args, trained=trained)
    text = f"data: {{source: {source}, cache_dir: {folder / 'cache'}}}\nseed: 3\ninit: {source}\n"
    (folder / "config.yaml").write_text(text)
    (folder / "knn.json").write_text(json.dumps({"knn_top1": 0.5}))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret") / "flowers"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(12):
        size = (16, 16) if number % 2 else (20 + number, 31)
        small = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "run"
    return make_run(folder, Tiny(SPEC), f"{__name__}.Tiny", {}, images)


@pytest.fixture(scope="module")
def standard(tmp_path_factory, images):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "resnet"
    backbone = TimmBackbone(SPEC, **RESNET)
    return make_run(folder, backbone, "ssl_dml.backbones.TimmBackbone", RESNET, images)


def exported(*arguments):
    export.main([str(argument) for argument in arguments])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_file_gives_the_embeddings_of_the_toolkit(run, images, tmp_path, capsys, kind, name):
    path = tmp_path / "new" / name
    exported("--run", run, "--to", kind, "--output", path)
    printed = capsys.readouterr().out
    assert "largest difference on 12 samples as the network takes them: " in printed
    assert "on images of other sizes, resized in it and by Pillow: " in printed
    embed = graph.run_onnx(path) if kind == "onnx" else graph.run_program(path)
    model = ssl_dml.load(run, device="cpu")
    for number, bound in ((1, 1e-5), (4, 5e-3)):  # of the own size, and of another
        file = images / f"{number}.png"
        given = np.array(Image.open(file))[None]
        found = embed(np.concatenate([given] * 3))  # a batch of any size
        assert found.shape == (3, 6)
        np.testing.assert_allclose(found[2:], unit(model.embed(file)), atol=bound)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["onnx"])
def test_a_file_that_differs_is_not_left_behind(run, tmp_path, monkeypatch, kind):
    def wrong(_):
        return lambda samples: np.ones((len(samples), 6), np.float32)

    monkeypatch.setattr(graph, "run_onnx", wrong)
    monkeypatch.setattr(graph, "run_program", wrong)
    monkeypatch.setattr(graph, "write_onnx", lambda *_: None)
    path = tmp_path / "a.onnx"
    with pytest.raises(ConfigError, match=r"differs from the original by .* nothing was written"):
        exported("--run", run, "--to", kind, "--output", path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_says_what_it_costs(standard, tmp_path, capsys):
    exported("--run", standard, "--to", "onnx", "--output", tmp_path / "a.onnx", "--int8", "true")
    assert "of the 10 nearest of 12 samples, " in capsys.readouterr().out
    assert (tmp_path / "a.onnx").stat().st_size < 0.5 * 4 * 4_900_000


@pytest.mark.parametrize("kind", ["safetensors", "hub"])
def test_a_folder_is_loaded_as_the_model(run, tmp_path, kind):
    exported("--run", run, "--to", kind, "--output", tmp_path / "a")
    model, copy = ssl_dml.load(run, device="cpu"), ssl_dml.load(tmp_path / "a", device="cpu")
    assert model.digest == copy.digest
    text = (tmp_path / "a/backbone.json").read_text()
    assert "flowers" in text
    assert "secret" not in text  # where the data were is nobody's business


def test_a_card_is_valid_and_tells_the_run(run, tmp_path):
    exported("--run", run, "--to", "hub", "--output", tmp_path / "a", "--license", "apache-2.0")
    card = ModelCard.load(tmp_path / "a/README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "ssl_dml"
    for words in ("Embeds images as 6 values; trained by SimCLR.", "`flowers`, 12 samples",
                  "seed: 3", "| knn | knn_top1 | 0.5000 | 0.4038 to 0.5962 |",
                  'ssl_dml.load("a")', f"torch {torch.__version__.partition('+')[0]}"):  # fmt: skip
        assert words in card.text
    assert "secret" not in card.text


def test_a_sketch_travels_without_names(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    info = TableInfo(rows=0, dim=6, weights={"path": "/secret"}, data={"source": "/secret/flowers"})
    table = EmbeddingTable(embeddings=torch.rand(9, 6), labels=-torch.ones(9).long(), names=9 * "x")
    write_sketch(tmp_path / "run/backbone", table, info)
    exported("--run", tmp_path / "run", "--to", "hub", "--output", tmp_path / "a")
    stored = StoredTable(tmp_path / "a/sketch")
    assert stored.load().names == 9 * [""]
    assert "secret" not in (tmp_path / "a/sketch/table.json").read_text()
    assert "ssl_dml drift --run a NEW_DATA" in (tmp_path / "a/README.md").read_text()


def test_timm_loads_its_folder(standard, tmp_path, capsys):
    exported("--run", standard, "--to", "timm", "--output", tmp_path / "a")
    assert "loaded again by timm; largest difference" in capsys.readouterr().out
    network = timm.create_model(f"local-dir:{tmp_path / 'a'}", pretrained=True).eval()
    given = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        original = ssl_dml.load(standard, device="cpu").backbone(given)
        torch.testing.assert_close(network(given), original)
    assert network.pretrained_cfg["mean"] == list(SPEC.mean)
    assert ModelCard.load(tmp_path / "a/README.md").data.library_name == "timm"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "oxx"), "to: .*'onnx', 'torch_export', 'safetensors', 'timm', 'hub'.*'oxx'"),
        (("--to", "timm"), "Tiny is no network of timm; --to safetensors, hub, onnx and"),
        (("--to", "hub", "--int8", "true"), "--int8 true is for --to onnx, got --to hub"),
        (("--to", "onnx"), r"--output must be a file such as x\.onnx, got .*new"),
        (("--to", "hub", "--weights", "a"), "name the network by one of --run and --weights"),
    ],
)
def test_what_cannot_be_is_one_line(run, tmp_path, arguments, words):
    with pytest.raises(ConfigError, match=words) as error:
        exported("--run", run, "--output", tmp_path / "new", *arguments)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(run, tmp_path):
    with pytest.raises(ConfigError, match="exists; remove it, or name another"):
        exported("--run", run, "--output", tmp_path, "--to", "hub")


def test_a_run_without_a_backbone_is_named(tmp_path):
    output = ("--output", tmp_path / "a", "--to", "hub")
    with pytest.raises(ConfigError, match=r"is no run folder: it has no config\.yaml"):
        exported("--run", tmp_path, *output)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match="has no backbone yet: finish it with --resume true"):
        exported("--run", tmp_path, *output)
    with pytest.raises(ConfigError, match="--weights 'gone': there is no such folder"):
        exported("--weights", "gone", *output)


def test_a_missing_library_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        graph, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"--to onnx needs onnxscript: pip install 'ssl_dml\[ex"):
        exported("--run", run, "--to", "onnx", "--output", tmp_path / "a.onnx")
