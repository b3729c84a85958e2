import sys

import pytest
from jsonargparse._common import parsing_settings

from ssl_dml.trust import KNOWN, PackageError, check_package, class_paths, imported, naming


def test_classes_are_named_at_any_depth():
    inner = [{"class_path": "c.D"}, [{"class_path": 7}, {"x": {"class_path": "e.F"}}]]
    assert list(class_paths({"a": {"class_path": "a.B", "init_args": {"y": inner}}})) == [
        "a.B",
        "c.D",
        "e.F",
    ]
    assert list(class_paths("a.B")) == []


@pytest.mark.parametrize(
    ("path", "own", "right"),
    [
        ("ssl_dml.heads.PairHead", (), True),
        ("torch.optim.sgd.SGD", (), True),
        ("timm.optim.Lars", (), True),
        ("timm.optimal.Lars", (), False),
        ("ssl_dml_more.Head", (), False),
        ("torch.nn.Linear", (), False),
        ("mine.parts.Head", (), False),
        ("mine.parts.Head", ("mine",), True),
        ("minerals.Head", ("mine",), False),
        ("os.system", None, True),
    ],
)
def test_a_package_is_known_or_ones_own(path, own, right):
    before = dict(parsing_settings)
    with naming(own):
        if right:
            check_package(path)
        else:
            words = rf"^{path} is outside ssl_dml, torch.optim and timm.optim, .* --trust true$"
            with pytest.raises(PackageError, match=words):
                check_package(path)
    assert parsing_settings == before
    check_package(path)


def test_a_module_is_imported_only_if_it_may_be_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unknown_module.py").write_text("class Part: ...")
    assert imported("sys.path") is sys.path
    with naming(()):
        assert imported(f"{KNOWN[0]}.trust.check_package") is check_package
        assert imported("sys.path") is sys.path  # there already
        with pytest.raises(PackageError):
            imported("unknown_module.Part")
    assert "unknown_module" not in sys.modules
    assert imported("unknown_module.Part").__name__ == "Part"
    del sys.modules["unknown_module"]
