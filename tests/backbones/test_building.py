"""Backbones by the name of their class: a stranger's is not imported, a slip is one line."""

import importlib
import json
import sys
import types

import pytest
import torch
from torch import nn

from ssl_dml.backbones import Backbone, load, save
from ssl_dml.backbones.building import build


class Means(Backbone):
    """As a user writes one."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, inputs.channels

    def forward(self, samples):
        return samples.mean(dim=(2, 3))


class Wide(Means):
    def __init__(self, inputs, factor=2):
        super().__init__(inputs)
        self.feature_dim = inputs.channels * factor


class Flat(Means):
    def forward(self, samples):
        return samples.mean(dim=(1, 2, 3))


class Maps(Means):
    def forward(self, samples):
        return samples


class Twice(Means):
    def forward(self, samples):
        return super().forward(samples), 1


class Nameless(Means):
    def __init__(self, inputs):
        nn.Module.__init__(self)
        self.inputs = inputs


class Blind(Means):
    def __init__(self, inputs):
        nn.Module.__init__(self)
        self.feature_dim = inputs.channels


class Early(Means):
    def __init__(self, inputs):
        self.layer = nn.Linear(2, 2)
        super().__init__(inputs)


class Linear(Means):
    def __init__(self, inputs):
        super().__init__(inputs)
        self.layer = nn.Linear(5, inputs.channels)

    def forward(self, samples):
        return self.layer(samples.flatten(1))


@pytest.fixture(autouse=True)
def _others(monkeypatch):
    """A module that is imported, with the classes above."""
    module = types.ModuleType("others")
    for cls in (Means, Wide, Flat, Maps, Twice, Nameless, Blind, Early, Linear):
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "others", module)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Wide", {}, r"gives \[2, 1\] for samples of shape \[2, 1, 8, 8\]; it must give one "
         r"feature of feature_dim 2 for each, of shape \[2, 2\]"),
        ("Flat", {}, r"gives \[2\] for samples of shape \[2, 1, 8, 8\]; it must give"),
        ("Maps", {}, r"gives \[2, 1, 8, 8\] for samples of shape"),
        ("Twice", {}, r"gives tuple for samples of shape"),
        ("Nameless", {}, r"must set self\.inputs .* and self\.feature_dim to a whole number, and"),
        ("Blind", {}, r"must set self\.inputs to the samples it was given .*, and has None and 1"),
        ("Early", {}, r"cannot be built: cannot assign module before Module\.__init__\(\) call"),
        ("Linear", {}, r"does not take samples of shape \[2, 1, 8, 8\]: mat1 and mat2 shapes can"),
        ("Wide", {"factr": 3}, r"cannot be built: got an unexpected keyword argument 'factr'"),
    ],
)  # fmt: skip
def test_a_slip_is_one_line(gray, name, arguments, words):
    with pytest.raises(ValueError, match=rf"^others\.{name} {words}") as caught:
        build(f"others.{name}", arguments, gray)
    assert "\n" not in str(caught.value)


def test_a_right_one_is_built_as_it_was(gray):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    built = build("others.Wide", {"factor": 1}, gray)
    assert isinstance(built, Wide)
    assert built.training
    assert torch.equal(torch.rand(2), expected)


@pytest.fixture(autouse=True)
def stranger(tmp_path, monkeypatch):
    """A saved backbone of a module that nobody imported, and the file that importing it makes."""
    marker = tmp_path / "imported"
    code = (
        f"open({str(marker)!r}, 'w').close()\n"
        "from ssl_dml.backbones import Backbone\n"
        "class Means(Backbone):\n"
        "    def __init__(self, inputs):\n"
        "        super().__init__()\n"
        "        self.inputs, self.feature_dim = inputs, inputs.channels\n"
        "    def forward(self, samples):\n"
        "        return samples.mean(dim=(2, 3))\n"
    )
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "strangers_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield marker
    sys.modules.pop("strangers_module", None)


@pytest.fixture(params=[False, True], ids=["plain", "nested"])
def folder(request, gray, tmp_path):
    path, arguments = "strangers_module.Means", {}
    if request.param:
        path, arguments = "ssl_dml.backbones.Embedder", {"class_path": path, "neck": "none"}
    save(Means(gray), tmp_path / "saved", path, arguments, trained={})
    return tmp_path / "saved"


def test_a_strangers_module_is_not_imported(folder, stranger):
    words = (
        r"backbone\.json names what cannot be built: strangers_module\.Means is of a module that "
        r"is not imported; if you trust it, import strangers_module first, set trust, or name it"
    )
    with pytest.raises(ValueError, match=words):
        load(folder)
    assert not stranger.exists()


def test_trust_imports_it(folder, stranger):
    assert load(folder, trust=True).feature_dim == 1
    assert stranger.exists()


def test_one_that_is_registered_is_imported(folder, stranger, tmp_path):
    about = tmp_path / "code" / "strangers-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[ssl_dml.backbones]\nmeans = strangers_module:Means\n")
    importlib.invalidate_caches()
    assert load(folder).feature_dim == 1
    assert stranger.exists()


def test_trust_of_what_is_not_there(folder):
    path = folder / "backbone.json"
    path.write_text(path.read_text().replace("strangers_module", "nowhere_module"))
    with pytest.raises(ValueError, match=r"nowhere_module\.Means cannot be imported: No module"):
        load(folder, trust=True)


def test_arguments_that_a_class_does_not_take(folder):
    metadata = json.loads((folder / "backbone.json").read_text())
    metadata |= {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": {"nam": "resnet18"}}
    (folder / "backbone.json").write_text(json.dumps(metadata))
    words = "cannot be built: ssl_dml.backbones.TimmBackbone cannot be built: .*argument"
    with pytest.raises(ValueError, match=words):
        load(folder)


def test_another_module_of_a_registered_package_is_not_imported(folder, stranger, tmp_path):
    about = tmp_path / "code" / "strangers-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[ssl_dml.backbones]\nx = strangers_module.part:X\n")
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="is not imported; if you trust it"):
        load(folder)
    assert not stranger.exists()


@pytest.mark.parametrize("name", ["", "system", "os.system", "ssl_dml.x.Y", "a/b"])
def test_what_is_no_name_of_a_backbone(name, gray):
    with pytest.raises(ValueError, match=r"no backbone|not installed|imported"):
        build(name, {}, gray)
