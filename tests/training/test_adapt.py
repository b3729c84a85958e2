"""Which tensors of a backbone move when pretraining goes on from trained weights."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_dml.backbones import Backbone, SequenceBackbone, TimmBackbone
from ssl_dml.backbones.norms import FrozenBatchNorm
from ssl_dml.methods import FeatureAlignment, Method, MoCo, RunInfo, SimCLR
from ssl_dml.training import AdaptSettings, Pretrainer
from ssl_dml.types import Batch, ConfigError, StepOutput

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
TASK = RunInfo(num_instances=40, batch_size=8, num_batches=3)


def resnet(spec):
    return TimmBackbone(spec, **RESNET)


def trained(network):
    return {name for name, p in network.named_parameters() if p.requires_grad}


def test_all_changes_nothing(gray):
    network = resnet(gray)
    names = {name for name, _ in network.named_parameters()}
    assert trained(AdaptSettings().apply(network)) == names
    assert any(isinstance(m, _BatchNorm) for m in network.modules())


def test_norms_are_all_that_moves(gray):
    names = trained(AdaptSettings(train="norms").apply(resnet(gray)))
    assert "network.bn1.weight" in names
    assert "network.layer4.0.bn2.bias" in names
    assert not any("conv" in name or name.endswith("downsample.0.weight") for name in names)


def test_the_last_blocks_move_and_the_batch_norm_of_the_rest_keeps_its_statistics(gray):
    network = AdaptSettings(train="last:2").apply(resnet(gray)).train()
    names = trained(network)
    assert {name.split(".")[1] for name in names} == {"layer3", "layer4"}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(4, 1, 8, 8))
    moved = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    assert {name.split(".")[1] for name in moved} == {"layer3", "layer4"}


def test_blocks_of_a_transformer_and_of_sequences(color, audio):
    options = {"patch_size": 8, "img_size": 16, "embed_dim": 32, "num_heads": 2, "depth": 3}
    vit = TimmBackbone(color, name="vit_tiny_patch16_224", options=options)
    names = trained(AdaptSettings(train="last:1").apply(vit))
    assert {name.split(".")[1] for name in names} == {"blocks", "norm"}
    assert {name.split(".")[2] for name in names if ".blocks." in name} == {"2"}
    sequences = SequenceBackbone(audio, width=8, strides=[2], kernels=[4], context_dim=8)
    names = trained(AdaptSettings(train="last:1").apply(sequences))
    assert {name.split(".")[0] for name in names} == {"network"}


def test_a_momentum_encoder_keeps_what_is_frozen(gray):
    backbone = AdaptSettings(train="last:1").apply(resnet(gray))
    method = MoCo(backbone, TASK, queue_size=8, output_dim=8, parts=2).train()
    before = method.key_backbone.state_dict()["network.bn1.running_mean"].clone()
    method(Batch([torch.randn(8, 1, 8, 8)] * 2, torch.arange(8))).loss.backward()
    assert torch.equal(method.key_backbone.network.bn1.running_mean, before)
    assert isinstance(method.key_backbone.network.bn1, FrozenBatchNorm)
    assert not isinstance(method.key_backbone.network.layer4[0].bn1, FrozenBatchNorm)


def vit(spec):
    options = {"patch_size": 8, "img_size": 16, "embed_dim": 32, "num_heads": 2, "depth": 3}
    return TimmBackbone(spec, name="vit_tiny_patch16_224", options=options)


def test_adapters_are_all_that_moves(color, gray, audio, capsys):
    network = AdaptSettings(train="lora", lora_rank=2).apply(vit(color))
    names = trained(network)
    assert names == {name for name, _ in network.named_parameters() if ".lora_" in name}
    assert {name.split(".")[1] for name in names} == {"blocks"}
    line = "adapt.train is lora: 3,072 of 47,616 weights of the backbone train (6.5%), adapters on"
    assert f"{line} 12 layers\n" in capsys.readouterr().out
    network = AdaptSettings(train="lora").apply(resnet(gray)).train()
    before = network.network.bn1.running_mean.clone()
    network(torch.randn(4, 1, 8, 8))
    assert torch.equal(network.network.bn1.running_mean, before)
    sequences = SequenceBackbone(audio, width=8, strides=[2], kernels=[4], context_dim=8)
    assert trained(AdaptSettings(train="lora").apply(sequences))


def test_a_momentum_encoder_follows_the_adapters(gray):
    backbone = AdaptSettings(train="lora", lora_rank=2).apply(resnet(gray))
    method = MoCo(backbone, TASK, queue_size=8, output_dim=8, parts=2, momentum=0.5).train()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1.0)
    before = {name: value.clone() for name, value in method.key_backbone.state_dict().items()}
    for _ in range(3):
        method(Batch([torch.randn(8, 1, 8, 8) for _ in range(2)], torch.arange(8))).loss.backward()
        optimizer.step()
    after = method.key_backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(".lora_" in name for name in moved)
    assert not any(p.requires_grad for p in method.key_backbone.parameters())


def test_rates_and_warm_up_of_adapters(color):
    backbone = AdaptSettings(train="lora").apply(vit(color))
    model = Pretrainer(SimCLR(backbone, TASK, output_dim=8))
    scales = AdaptSettings(train="lora", layer_decay=0.5, warmup_epochs=1.0).lr_scales(model)
    assert {*scales} == {p for p in backbone.parameters() if p.requires_grad}
    assert sorted({*scales.values()}) == [0.25, 0.5, 1.0]
    model.freeze(True)
    assert not trained(backbone)
    model.freeze(False)
    assert trained(backbone)


def test_adapters_need_a_library(monkeypatch):
    monkeypatch.setattr("ssl_dml.backbones.adapters.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"lora and needs peft: pip install 'ssl_dml\[lora\]'"):
        AdaptSettings(train="lora")


def test_rates_fall_from_the_last_block(gray):
    model = Pretrainer(SimCLR(resnet(gray), TASK, output_dim=8))
    scales = AdaptSettings(layer_decay=0.5).lr_scales(model)
    found = [scales[p] for p in model.method.backbone.parameters()]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.5**4, 1.0)
    assert not {*model.method.projector.parameters()} & {*scales}


@pytest.mark.parametrize("value", ["some", "last:0", "last:", "last:-1", "last:1.5", "last 2"])
def test_a_part_that_is_unknown(value):
    with pytest.raises(ConfigError, match=r"adapt\.train must be all, norms or last:N"):
        AdaptSettings(train=value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer_decay": 0.0}, r"adapt\.layer_decay must be above 0"),
        ({"warmup_epochs": -1.0}, r"adapt\.warmup_epochs must be at least 0"),
        ({"train": "lora", "lora_rank": 0}, r"adapt\.lora_rank must be at least 1"),
        ({"train": "norms", "lora_rank": 4}, r"adapt\.lora_rank is 4.* set adapt\.train to lora"),
    ],
)
def test_settings_that_cannot_be(options, words):
    with pytest.raises(ConfigError, match=words):
        AdaptSettings(**options)


def test_random_weights_are_not_kept():
    with pytest.raises(ConfigError, match=r"adapt\.train is norms and would keep random weights"):
        AdaptSettings(train="norms").check_start(None)
    with pytest.raises(ConfigError, match=r"adapt\.warmup_epochs is 1\.0 and would keep"):
        AdaptSettings(warmup_epochs=1.0).check_start(None)
    AdaptSettings(train="norms", warmup_epochs=1.0).check_start("timm:resnet18")
    AdaptSettings(layer_decay=0.5).check_start(None)


class Plain(Backbone):
    """One layer without a norm."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, 4
        self.only = nn.Linear(inputs.size**2, 4)

    def forward(self, samples):
        return self.only(samples.flatten(1))


class Bare(Method):
    """A method without weights of its own."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, batch):
        return StepOutput(self.backbone(batch.views[0]).sum(), {})


def test_a_network_without_such_a_part_is_named(gray):
    with pytest.raises(ConfigError, match=r"resnet18 has 4 blocks after .* last:1 to last:4"):
        AdaptSettings(train="last:5").apply(resnet(gray))
    with pytest.raises(ConfigError, match=r"Plain has no blocks; take all or norms"):
        AdaptSettings(train="last:1").apply(Plain(gray))
    with pytest.raises(ConfigError, match=r"Plain has no weights in normalization layers"):
        AdaptSettings(train="norms").apply(Plain(gray))
    with pytest.raises(ConfigError, match=r"lora, and Plain has no linear layer or convolution"):
        AdaptSettings(train="lora").apply(Plain(gray).requires_grad_(False))


def test_a_warm_up_must_leave_something_to_train(gray):
    with pytest.raises(ConfigError, match=r"warmup_epochs is 2\.0 and leaves .*: Bare has no"):
        AdaptSettings(warmup_epochs=2.0).lr_scales(Pretrainer(Bare(Plain(gray))))


def test_methods_with_a_teacher_are_built_around_what_is_frozen(gray, tmp_path):
    from ssl_dml.backbones import save

    save(resnet(gray), tmp_path, "ssl_dml.backbones.TimmBackbone", RESNET, trained={})
    backbone = AdaptSettings(train="last:1").apply(resnet(gray))
    method = FeatureAlignment(backbone, TASK, teacher=str(tmp_path))
    loss = method(Batch([torch.randn(4, 1, 8, 8)], torch.arange(4))).loss
    loss.backward()
    grads = {n for n, p in method.backbone.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in grads} == {"layer4"}
