import json
import os
import sys
import types

import pytest
import torch
from launching import completed
from payload import Payload

from ssl_dml.backbones import Backbone, TimmBackbone, load, save
from ssl_dml.types import ImageSpec, SequenceSpec

PATH = "ssl_dml.backbones.TimmBackbone"
ARGUMENTS = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


@pytest.fixture
def saved(tmp_path):
    spec = ImageSpec(channels=2, size=16, mean=(0.1, 0.2), std=(0.3, 0.4))
    backbone = TimmBackbone(spec, **ARGUMENTS)
    backbone(torch.randn(4, 2, 16, 16))  # moves the running statistics
    save(backbone, tmp_path / "backbone", PATH, ARGUMENTS, trained={"method": "none"})
    return backbone.eval(), tmp_path / "backbone"


def test_round_trip(saved):
    backbone, folder = saved
    loaded = load(folder)
    images = torch.randn(3, 2, 16, 16)
    assert torch.equal(loaded(images), backbone(images))
    assert loaded.inputs == backbone.inputs
    assert not loaded.training


@pytest.mark.parametrize("rate", [16000, None])
def test_a_network_of_sequences(tmp_path, monkeypatch, rate):
    class Mean(Backbone):
        def __init__(self, inputs):
            super().__init__()
            self.inputs, self.feature_dim = inputs, inputs.channels

        def forward(self, samples):
            return samples.mean(2)

    module = types.ModuleType("others")
    module.Mean = Mean
    monkeypatch.setitem(sys.modules, "others", module)
    spec = SequenceSpec(channels=2, length=50, mean=(0.1, 0.2), std=(0.3, 0.4), sampling_rate=rate)
    save(Mean(spec), tmp_path / "backbone", "others.Mean", {}, trained={})
    assert load(tmp_path / "backbone").inputs == spec
    metadata = json.loads((tmp_path / "backbone" / "backbone.json").read_text())
    assert metadata["sequences"]["length"] == 50
    assert "images" not in metadata


def test_facts_of_another_form_are_named(saved):
    path = saved[1] / "backbone.json"
    path.write_text(path.read_text().replace('"size"', '"extent"'))
    with pytest.raises(ValueError, match=r"backbone\.json is damaged"):
        load(saved[1])


def test_an_older_one_is_replaced_whole(saved):
    backbone, folder = saved
    (folder / "stale").touch()
    save(backbone, folder, PATH, ARGUMENTS, trained={})
    assert sorted(path.name for path in folder.iterdir()) == ["backbone.json", "model.safetensors"]


def test_the_facts_can_be_read_by_people(saved):
    metadata = json.loads((saved[1] / "backbone.json").read_text())
    assert metadata["images"] == {
        "channels": 2,
        "size": 16,
        "mean": [0.1, 0.2],
        "std": [0.3, 0.4],
        "test_view": "center",
    }
    assert metadata["feature_dim"] == 64
    assert metadata["trained"] == {"method": "none"}


def test_a_missing_file_is_named(saved):
    (saved[1] / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"is no saved backbone: it lacks .*model\.safetensors"):
        load(saved[1])


@pytest.mark.parametrize("name", ["model.safetensors", "backbone.json"])
def test_a_damaged_file_is_named(saved, name):
    path = saved[1] / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=rf"{name} is (damaged|no saved)"):
        load(saved[1])


def test_weights_of_another_network_are_refused(saved):
    path = saved[1] / "backbone.json"
    path.write_text(path.read_text().replace("0.125", "0.25"))
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit"):
        load(saved[1])


def test_a_class_that_is_no_backbone_is_not_called(saved):
    path = saved[1] / "backbone.json"
    path.write_text(path.read_text().replace(PATH, "subprocess.Popen"))
    with pytest.raises(
        ValueError,
        match=r"backbone\.json names what cannot be built: subprocess\.Popen is no backbone",
    ):
        load(saved[1])


@pytest.fixture
def trap(tmp_path):
    """A file that touches another one when it is unpickled, and that other one."""
    (tmp_path / "trap").mkdir()
    path, marker = tmp_path / "trap/pytorch_model.bin", tmp_path / "ran"
    torch.save({"conv1.weight": Payload(marker)}, path)
    (path.parent / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    torch.load(path, weights_only=False)
    assert marker.exists()
    marker.unlink()
    return path, marker


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"checkpoint_path": "{}"}, "checkpoint_path"),
        ({"layers": [1, 1, 1, 1], "pretrained": True}, "pretrained"),
        ({"pretrained_cfg": "a1_in1k"}, "pretrained_cfg"),
        ({"cache_dir": "{}"}, "cache_dir"),
        ({"model_name": "local-dir:{}"}, "model_name"),
    ],
)
def test_a_folder_of_a_stranger_loads_no_other_file(saved, trap, options, key, nested):
    path, marker = trap
    metadata = json.loads((saved[1] / "backbone.json").read_text())
    options = {name: str(v).format(path) if name == key else v for name, v in options.items()}
    metadata["init_args"]["options"] = options
    if nested:
        inner = {name: metadata[name] for name in ("class_path", "init_args")}
        metadata |= {"class_path": "ssl_dml.backbones.Embedder", "init_args": inner}
    (saved[1] / "backbone.json").write_text(json.dumps(metadata))
    words = rf"backbone\.json names what cannot be built: backbone\.options\.{key} is .* timm:NAME$"
    with pytest.raises(ValueError, match=words):
        load(saved[1])
    assert not marker.exists()


@pytest.mark.parametrize("name", ["local-dir:{}", "hf-hub:user/resnet18", "resnet18.a1_in1k"])
def test_a_folder_of_a_stranger_names_no_other_place(saved, trap, name):
    path, marker = trap
    metadata = json.loads((saved[1] / "backbone.json").read_text())
    metadata["init_args"]["name"] = name.format(path.parent)
    (saved[1] / "backbone.json").write_text(json.dumps(metadata))
    words = r"backbone\.json names what cannot be built: backbone\.name is .*--init timm:NAME$"
    with pytest.raises(ValueError, match=words):
        load(saved[1])
    assert not marker.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"pretrained_cfg_overlay": {"file": "{}"}, "pretrained": True},
        [["checkpoint_path", "{}"]],
    ],
)
def test_forms_of_options_that_only_a_stranger_writes(saved, trap, options, tmp_path):
    """In a process of its own, without the checks of types that tests have."""
    path, marker = trap
    text = json.dumps(options).replace("{}", str(path))
    metadata = json.loads((saved[1] / "backbone.json").read_text())
    metadata["init_args"]["options"] = json.loads(text)
    (saved[1] / "backbone.json").write_text(json.dumps(metadata))
    program = tmp_path / "load_it.py"
    program.write_text(f"from ssl_dml.backbones import load; load({str(saved[1])!r})")
    ended = completed(program)
    assert "names what cannot be built: backbone.options." in ended.stderr.splitlines()[-1]
    assert not marker.exists()


@pytest.mark.parametrize("name", ["backbone.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_folder_with_something_else_than_files_is_one_line(saved, name, kind):
    _, folder = saved
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "device":
        (folder / name).symlink_to("/dev/zero")
    else:
        (folder / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} is damaged: is a {kind}, and no file"):
        load(folder)
