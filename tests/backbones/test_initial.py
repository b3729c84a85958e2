"""Where a backbone starts from."""

import hashlib
import json

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from ssl_dml.backbones import SequenceBackbone, TimmBackbone, initial, save
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

PATH = "ssl_dml.backbones.TimmBackbone"
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
SMALL = "test_resnet"  # a network of timm for tests


def weights_of(network, seed=5):
    """A state of which no value is that of a new network."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }


def assert_all_from(network, state, prefix=""):
    """No weight is random that was to be loaded."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value.cpu(), state[prefix + name]), name


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub as it lies on a disk, without network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def add(repository, **files):
        revision = hashlib.sha1(repository.encode()).hexdigest()
        root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (root / "refs").mkdir(parents=True)
        (root / "refs/main").write_text(revision)
        folder = root / "snapshots" / revision
        folder.mkdir(parents=True)
        for name, write in files.items():
            write(folder / name.replace("__", "."))

    return add


def test_a_saved_backbone_brings_its_network_its_samples_and_its_weights(gray, tmp_path):
    saved = TimmBackbone(gray, **RESNET)
    save(saved, tmp_path / "run/backbone", PATH, RESNET, trained={})
    for folder in (tmp_path / "run/backbone", tmp_path / "run"):
        begin = initial(folder, "another.Network", {"name": "other"})
        assert (begin.class_path, begin.init_args, begin.inputs) == (PATH, RESNET, gray)
        embedder = begin.build(gray, neck="linear", dim=8)
        assert_all_from(embedder.backbone, saved.state_dict())
        assert embedder.feature_dim == 8
        assert_all_from(begin.backbone(gray), saved.state_dict())


def test_without_weights_it_is_the_configured_network(gray):
    begin = initial(None, PATH, RESNET)
    assert begin.inputs is None
    assert begin.build(gray, neck="none", dim=None).feature_dim == 64
    assert begin.arguments(neck="none", dim=None)["class_path"] == PATH


def test_a_file_is_for_the_configured_network(gray, tmp_path, capsys):
    given = weights_of(TimmBackbone(gray, **RESNET))
    torch.save({"state_dict": {f"module.{n}": v for n, v in given.items()}}, tmp_path / "x.pth")
    network = initial(str(tmp_path / "x.pth"), PATH, RESNET).backbone(gray)
    assert_all_from(network, given)
    (line,) = capsys.readouterr().out.splitlines()
    where = "under state_dict module.network."
    assert line == f"init {tmp_path / 'x.pth'}: all 60 tensors found {where}"


@pytest.mark.parametrize("folder", [True, False])
def test_a_checkpoint_of_a_run(gray, tmp_path, folder):
    given = weights_of(TimmBackbone(gray, **RESNET))
    model = {f"backbone.{name}": value for name, value in given.items()}
    model |= {f"key_backbone.{name}": value + 1 for name, value in given.items()}
    step = tmp_path / "checkpoints/step_60"
    step.mkdir(parents=True)
    torch.save({"model": model, "optimizer": {"state": {}}}, step / "state.pt")
    network = initial(step if folder else step / "state.pt", PATH, RESNET).backbone(gray)
    assert_all_from(network, given)


def test_sequences_start_from_a_file_too(tmp_path):
    spec = SequenceSpec(channels=1, length=640, mean=(0.0,), std=(1.0,))
    options = {"width": 8, "context_dim": 8}
    given = weights_of(SequenceBackbone(spec, **options))
    save_file({f"encoder.{n}": v for n, v in given.items()}, tmp_path / "x.safetensors")
    path = f"{SequenceBackbone.__module__}.SequenceBackbone"
    network = initial(tmp_path / "x.safetensors", path, options).backbone(spec)
    assert_all_from(network, given)


def test_weights_of_timm_come_from_its_cache(hub):
    tag = "test_resnet.r160_in1k"
    given = weights_of(timm.create_model(SMALL))
    hub(f"timm/{tag}", model__safetensors=lambda path: save_file(given, path))
    begin = initial(f"timm:{tag}", "another.Network", {})
    assert begin.init_args == {"name": SMALL, "stem": "standard"}
    assert (begin.preset.size, begin.preset.channels) == (160, 3)
    assert_all_from(begin.backbone(ImageSpec.imagenet(64)).network, given)


def test_weights_of_a_hub_repository(hub):
    given = weights_of(timm.create_model(SMALL, num_classes=7))
    card = {
        "architecture": SMALL,
        "num_classes": 7,
        "pretrained_cfg": {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.5] * 3,
                           "num_classes": 7, "classifier": "fc", "first_conv": "conv1.0"},
    }  # fmt: skip
    hub(
        "someone/birds",
        model__safetensors=lambda path: save_file(given, path),
        config__json=lambda path: path.write_text(json.dumps(card)),
    )
    begin = initial("hf:someone/birds", "another.Network", {})
    assert begin.preset == ImageSpec(channels=3, size=96, mean=(0.1, 0.2, 0.3), std=(0.5,) * 3)
    assert_all_from(begin.backbone(ImageSpec.imagenet(64)).network, given)


def test_weights_of_torchvision_come_from_its_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given = weights_of(torchvision.models.resnet18())
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(given, tmp_path / "hub/checkpoints" / url.rpartition("/")[2])
    begin = initial("torchvision:resnet18", "another.Network", {})
    assert begin.preset == ImageSpec.imagenet(224)
    assert_all_from(begin.backbone(ImageSpec.imagenet(64)).network, given)


def marked(network):
    """A state of known values: tensor i rises from i towards i + 1."""
    return {
        name: i + torch.arange(value.numel()).reshape(value.shape) / value.numel()
        if value.is_floating_point()
        else value
        for i, (name, value) in enumerate(network.state_dict().items())
    }


def of_file(suffix):
    def write(network, path):
        path = path / f"weights{suffix}"
        state = marked(network.network)
        if suffix == ".npz":
            arrays = {name: value.numpy() for name, value in state.items()}
            np.savez(path, allow_pickle=False, **arrays)
        elif suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({"state_dict": state}, path)
        return path

    return write


def of_checkpoint(network, path):
    step = path / "checkpoints/step_60"
    step.mkdir(parents=True)
    model = {f"backbone.{name}": value for name, value in marked(network).items()}
    torch.save({"model": model, "optimizer": {"state": {}}}, step / "state.pt")
    return step


def of_folder(below):
    def write(network, path):
        network.load_state_dict(marked(network))
        save(network, path / below, PATH, RESNET, trained={})
        return path if below == "backbone" else path / below

    return write


LOCAL = {"run": of_folder("backbone"), "backbone": of_folder("saved"), "checkpoint": of_checkpoint}
LOCAL |= {suffix: of_file(suffix) for suffix in (".pth", ".pt", ".ckpt", ".safetensors", ".npz")}


def assert_nothing_is_random(init, state, spec):
    """Both ways to build it, each under two seeds, give the file in every tensor."""
    for seed in (1, 2):
        torch.manual_seed(seed)
        begin = initial(init, PATH, RESNET)
        networks = begin.backbone(spec), begin.build(spec, neck="none", dim=None).backbone
        for network in networks:
            assert_all_from(network.network, state)


@pytest.mark.parametrize("route", LOCAL)
def test_no_tensor_stays_as_it_was_initialized(gray, tmp_path, route):
    network = TimmBackbone(gray, **RESNET)
    init = LOCAL[route](network, tmp_path)
    assert_nothing_is_random(init, marked(network.network), gray)


def test_no_tensor_of_published_weights_is_random(hub, tmp_path, monkeypatch):
    tag, spec = "test_resnet.r160_in1k", ImageSpec.imagenet(64)
    given = marked(timm.create_model(SMALL))
    hub(f"timm/{tag}", model__safetensors=lambda path: save_file(given, path))
    assert_nothing_is_random(f"timm:{tag}", given, spec)
    card = {"architecture": SMALL, "pretrained_cfg": {
        "input_size": [3, 96, 96], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 1000,
        "classifier": "fc", "first_conv": "conv1.0"}}  # fmt: skip
    hub(
        "someone/birds",
        model__safetensors=lambda path: save_file(given, path),
        config__json=lambda path: path.write_text(json.dumps(card)),
    )
    assert_nothing_is_random("hf:someone/birds", given, spec)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given = marked(torchvision.models.resnet18())
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(given, tmp_path / "hub/checkpoints" / url.rpartition("/")[2])
    assert_nothing_is_random("torchvision:resnet18", given, spec)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("nothing", "there is no such file or folder; published weights are timm:NAME"),
        ("timm:resnet18.no_tag", r"timm has no such weights; it has resnet18\.a1_in1k"),
        ("timm:vit_tiny_patch16", "timm has no such weights; it has vit_tiny_patch16_"),
        ("timm:restnet", "timm has no such weights$"),
        ("torchvision:resnet19", "torchvision has no such weights; it has resnet"),
    ],
)
def test_what_is_not_there_is_named(init, words):
    with pytest.raises(ConfigError, match=words) as caught:
        initial(init, PATH, RESNET)
    assert str(caught.value).startswith(f"init '{init}'")


@pytest.mark.parametrize("init", ["timm:test_resnet.r160_in1k", "hf:no/where"])
@pytest.mark.usefixtures("hub")
def test_without_a_network_it_is_one_line(init):
    with pytest.raises(ConfigError, match="is not in the cache and cannot be downloaded") as caught:
        initial(init, PATH, RESNET).backbone(ImageSpec.imagenet(64))
    assert str(caught.value).startswith(f"init '{init}' is not in the cache and ")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_network_is_refused_by_name(gray, tmp_path):
    torch.save(timm.create_model(SMALL).state_dict(), tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"x\.pth' does not fit resnet18 as it is built here: "):
        initial(tmp_path / "x.pth", PATH, RESNET).backbone(gray)


def test_a_neck_that_does_not_fit_is_named(gray):
    with pytest.raises(ConfigError, match="embedding_dim must be null or the 64 of the backbone"):
        initial(None, PATH, RESNET).build(gray, neck="batch_norm", dim=3)


def test_a_checkpoint_that_names_another_network_says_so(gray, tmp_path):
    state = weights_of(timm.create_model("resnet10t"))
    path = tmp_path / "x.pth.tar"
    torch.save({"arch": "resnet10t", "epoch": 3, "state_dict": state}, path)
    with pytest.raises(ConfigError) as caught:
        initial(path, PATH, RESNET).backbone(gray)
    assert str(caught.value).endswith(
        "the file says resnet10t, the configuration resnet18: "
        "set --backbone.name resnet10t --backbone.width 1 --backbone.options null"
    )


@pytest.mark.parametrize("arch", ["resnet18", "no_network_of_timm", 3])
def test_a_checkpoint_that_names_this_network_or_none_is_counted(gray, tmp_path, arch):
    torch.save({"arch": arch, "state_dict": {"a": torch.ones(2)}}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match="0 of its 60 tensors found"):
        initial(tmp_path / "x.pth", PATH, RESNET).backbone(gray)
