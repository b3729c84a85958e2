"""``ssl_dml threshold`` as a user runs it, and where what it finds is used."""

import json

import numpy as np
import pytest
import torch
from launching import ROOT, completed
from PIL import Image

import ssl_dml
from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.commands import export, search
from ssl_dml.commands.search_serve import limits_of
from ssl_dml.commands.threshold import main
from ssl_dml.index.index import Index, build_index
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.run_sections import add_threshold
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.threshold_file import THRESHOLD, read_threshold
from ssl_dml.types import ConfigError, ImageSpec

OPTIONS = {"name": "resnet18", "width": 0.125}
LOOSE = ["--far", "0.05", "--fpir", "0.1"]


def table_of(folder, weights, dim=8, *, first=0, count=80, samples=2, embeddings=None, **changes):
    """Identities around centers of their own."""
    generator = torch.Generator().manual_seed(first)
    labels = torch.arange(count).repeat_interleave(samples)
    centers = torch.randn(count, dim, generator=generator)
    rows = centers[labels] + 0.4 * torch.randn(len(labels), dim, generator=generator)
    rows = rows if embeddings is None else embeddings
    names = [f"{first}/{i}.png" for i in range(len(rows))]
    classes = [f"person {first + i}" for i in range(count)]
    info = TableInfo(rows=0, dim=rows.shape[1], class_names=classes, weights=weights)
    info = TableInfo(**{**info.__dict__, **changes})
    return write_table(folder, info, [TableBatch(names=names, labels=labels, embeddings=rows)])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model, and a table whose rows it might have embedded."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    backbone = TimmBackbone(ImageSpec.imagenet(32), **OPTIONS)
    save(backbone, root / "model", "ssl_dml.backbones.TimmBackbone", OPTIONS, trained={})
    model = ssl_dml.load(root / "model", device="cpu")
    weights = {"digest": model.digest, "path": str(root / "model")}
    table_of(root / "table", weights, model.dim)
    Image.effect_noise((40, 40), 90).convert("RGB").save(root / "a.png")
    Image.new("RGB", (40, 40), "red").save(root / "b.png")
    return root


@pytest.mark.parametrize(("split", "told"), [("train", True), (None, True), ("test", False)])
def test_samples_that_the_model_was_trained_on_are_told(tmp_path, capsys, split, told):
    trained = {"data": {"fingerprint": "abc"}}
    backbone = TimmBackbone(ImageSpec.imagenet(32), **OPTIONS)
    save(backbone, tmp_path / "model", "ssl_dml.backbones.TimmBackbone", OPTIONS, trained=trained)
    model = ssl_dml.load(tmp_path / "model", device="cpu")
    weights = {"digest": model.digest, "path": str(tmp_path / "model")}
    data = {"fingerprint": "abc", "split": split}
    table_of(tmp_path / "table", weights, model.dim, data=data)
    main([str(tmp_path / "table"), *LOOSE])
    assert ("The model was trained on these samples" in capsys.readouterr().out) is told


@pytest.fixture(scope="module")
def found(world):
    return main([str(world / "table"), *LOOSE, "--gallery", str(world / "table")]), main(
        [str(world / "table"), "--far", "0.05", "--fpir", "0.1"]
    )


def test_a_threshold_is_found_as_a_user_does(tmp_path):
    table_of(tmp_path / "table", {"digest": "ab" * 32, "path": "gone"})
    done = completed(ROOT / "scripts/threshold.py", tmp_path / "table", "--far", 0.05)
    assert done.returncode == 0, done.stderr
    own = read_threshold(tmp_path / "table")
    assert f"from cosine {own.threshold:.4f} on: at most 0.05 of the pairs" in done.stdout
    assert "40 unknown identities are too few for --fpir 0.05: 59 are needed" in done.stdout
    assert done.stdout.splitlines()[-1] == f"written: {tmp_path}/table/{THRESHOLD}"
    with pytest.raises(ConfigError, match="80 identities are too few for --far 1e-06: about"):
        main([str(tmp_path / "table"), "--far", "1e-6"])
    assert read_threshold(tmp_path / "table") == own


def test_it_is_beside_the_table_and_the_model(world, found):
    _, own = found
    assert own == read_threshold(world / "table") == read_threshold(world / "model")
    assert own.identities == 80
    assert own.measures["far"] <= 0.05
    assert own.measures["far_low"] < own.measures["binomial_low"]
    assert own.measures["far_high"] > own.measures["binomial_high"]
    assert own.measures["tar"] > 0.9
    assert own.unknown is not None
    assert own.unknown.identities == 40
    assert own.unknown.gallery_rows == 80


def test_no_one_is_unknown_in_the_gallery_itself(found):
    assert found[0].unknown is None


def test_the_model_decides_by_it(world, found):
    _, own = found
    model = ssl_dml.load(world / "model", device="cpu")
    rows = model.embed([world / "a.png", world / "b.png"]).astype(np.float64)
    cosine = rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])
    same = model.same(world / "a.png", world / "b.png")
    assert same.cosine == pytest.approx(cosine)
    assert same.same == (cosine >= own.threshold)
    assert same.probability == own.probability(same.cosine)
    assert model.same(world / "a.png", world / "a.png").same


def test_a_model_without_a_threshold_says_what_to_do(world, found, tmp_path):
    assert found
    torch.manual_seed(1)
    backbone = TimmBackbone(ImageSpec.imagenet(32), **OPTIONS)
    save(backbone, tmp_path / "other", "ssl_dml.backbones.TimmBackbone", OPTIONS, trained={})
    with pytest.raises(ConfigError, match=r"other has no threshold.json: ssl_dml threshold TABLE"):
        ssl_dml.load(tmp_path / "other").same(world / "a.png", world / "b.png")
    other = ssl_dml.load(tmp_path / "other", threshold=world / "table")
    with pytest.raises(ConfigError, match=r"threshold\.json is of weights"):
        other.same(world / "a.png", world / "b.png")
    own = ssl_dml.load(world / "model", views="flip")
    with pytest.raises(ConfigError, match=r"threshold\.json is of views"):
        own.same(world / "a.png", world / "b.png")


def test_an_index_keeps_it(world, found, tmp_path):
    _, own = found
    weights = {"digest": own.digest, "path": str(world / "model")}
    dim = ssl_dml.load(world / "model").dim
    more = table_of(tmp_path / "more", weights, dim, first=100, count=5)
    index = build_index(world / "table", tmp_path / "index", memory=10**9)
    assert index.info.threshold == own.threshold
    assert index.info.unknown is None  # it was found with half of the table as the gallery
    index.add(more)
    index.remove(["100/0.png"])
    assert Index.open(tmp_path / "index").info.threshold == own.threshold
    assert limits_of(Index.open(tmp_path / "index")) == (own.threshold, None)


def test_unknown_queries_are_refused_until_rows_are_added(world, found, tmp_path):
    _, own = found
    weights = {"digest": own.digest, "path": str(world / "model")}
    dim = ssl_dml.load(world / "model").dim
    table_of(tmp_path / "gallery", weights, dim, first=200, count=10)
    table_of(tmp_path / "table", {**weights, "path": ""}, dim)
    asked = main([str(tmp_path / "table"), *LOOSE, "--gallery", str(tmp_path / "gallery")])
    assert asked.unknown is not None
    assert (asked.unknown.identities, asked.unknown.gallery_rows) == (80, 20)
    index = build_index(tmp_path / "gallery", tmp_path / "index", memory=10**9)
    assert index.info.unknown == asked.unknown.threshold
    index.remove(["200/0.png"])
    assert index.info.unknown == asked.unknown.threshold
    index.add(table_of(tmp_path / "more", weights, dim, first=300, count=5))
    assert index.info.unknown is None


def test_search_marks_what_is_the_same(world, found, tmp_path, capsys):
    assert found
    search.main(["build", str(world / "table"), "--output", str(tmp_path / "index")])
    manifest = tmp_path / "index/index.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "unknown": 1.0}))
    capsys.readouterr()
    files = [tmp_path / "found.json", tmp_path / "found.html"]
    args = ["--k", "3", "--json", str(files[0]), "--html", str(files[1])]
    search.main(["query", str(tmp_path / "index"), str(world / "a.png"), *args])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{world / 'a.png'}: unknown: no match reaches 1.0000"
    (query,) = json.loads(files[0].read_text())["queries"]
    above = sum(hit["score"] >= query["threshold"] for hit in query["results"])
    words = f"threshold {query['threshold']:.4f}: "
    assert lines[1 + above].strip().startswith(words)
    assert query["unknown"] is True
    assert words in files[1].read_text()
    for wrong in (2, "x", True):
        manifest.write_text(json.dumps({**values, "threshold": wrong}))
        with pytest.raises(ConfigError, match="where a cosine belongs"):
            Index.open(tmp_path / "index")


def test_card_and_export_have_it(world, found, tmp_path):
    _, own = found
    export.main(["--to", "hub", "--weights", str(world / "model"), "--output", str(tmp_path / "x")])
    card = (tmp_path / "x/README.md").read_text()
    assert all(line in card for line in read_threshold(world / "model").lines())
    assert 'model.same("a.png", "b.png")' in card
    exported = ssl_dml.load(tmp_path / "x", device="cpu")
    assert exported.threshold.digest == own.digest
    (world / "model" / THRESHOLD).rename(tmp_path / THRESHOLD)
    export.main(["--to", "hub", "--weights", str(world / "model"), "--output", str(tmp_path / "y")])
    (tmp_path / THRESHOLD).rename(world / "model" / THRESHOLD)
    assert "No threshold of similarity comes with it" in (tmp_path / "y/README.md").read_text()


def test_a_report_has_it(world, found, tmp_path):
    page = Page(title="t", subtitle="")
    page.chapter("run")
    add_threshold(page, tmp_path)
    assert "Threshold" not in page.html("")
    add_threshold(page, world / "table")
    assert f"{found[1].threshold:.4f}" in page.html("")
    (tmp_path / THRESHOLD).write_text("{")
    add_threshold(page, tmp_path)
    assert "the threshold is left out" in page.html("")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dtype": "bit"}, "holds bits alone, .* --dtype float32"),
        ({"weights": {}}, "does not say which weights embedded it; embed again"),
        ({"count": 9}, "has 9 classes, 9 of them with two samples; a threshold needs 10"),
        ({"samples": 1}, "has 80 classes, 0 of them with two samples"),
        ({"embeddings": torch.full((160, 8), torch.nan)}, "holds NaN or infinity; embed again"),
    ],
)
def test_tables_that_have_no_threshold_are_refused(changes, told, tmp_path):
    given = {"weights": {"digest": "ab" * 32}, **changes}
    table_of(tmp_path / "table", given.pop("weights"), **given)
    with pytest.raises(ConfigError, match=told):
        main([str(tmp_path / "table")])
    assert not (tmp_path / "table" / THRESHOLD).exists()


@pytest.mark.parametrize("key", ["far", "confidence", "fpir"])
def test_rates_out_of_range_are_refused_by_key(key, tmp_path):
    with pytest.raises(ConfigError, match=f"threshold.{key} must be above 0 and below 1"):
        main([str(tmp_path), f"--{key}", "1.0"])


def test_another_model_by_now_keeps_its_own(world, tmp_path, capsys):
    table_of(tmp_path / "table", {"digest": "cd" * 32, "path": str(world / "model")})
    before = read_threshold(world / "model")
    main([str(tmp_path / "table"), *LOOSE])
    assert "is another one by now" in capsys.readouterr().out
    assert read_threshold(world / "model") == before
