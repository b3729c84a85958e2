"""A table of embeddings equals what the model gives, however often it was stopped."""

import errno
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from datasets import Image as ImageFeature
from launching import finish, run, start, wait_for
from PIL import Image
from torch.testing import assert_close

import ssl_dml
from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.commands.embed import main
from ssl_dml.data.originals import open_sample
from ssl_dml.evaluation import embed_table
from ssl_dml.tables import EmbeddingTable, StoredTable
from ssl_dml.training.run_lock import RunLock
from ssl_dml.types import ConfigError, ImageSpec

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
DECODER = {"channels": 3, "size": 16, "low": 0.0, "high": 65535.0}


def saved(folder, spec, **more):
    torch.manual_seed(0)
    trained = {
        **more,
        "data": {"decoder": {**DECODER, "channels": spec.channels, "size": spec.size}},
    }
    network = TimmBackbone(spec, **RESNET)
    save(network, folder, "ssl_dml.backbones.TimmBackbone", RESNET, trained=trained)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model") / "backbone", ImageSpec.imagenet(16))


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    spec = ImageSpec(channels=1, size=28, mean=(0.3,), std=(0.3,))
    return saved(tmp_path_factory.mktemp("gray") / "backbone", spec)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two classes of six images of different shapes, and one that is damaged."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(12):
        path = root / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (20 + i, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    (root / "a/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def embed(weights, images, output, *more):
    words = map(str, more)
    args = ["--weights", weights, "--data.source", images, "--output", output]
    return StoredTable(main([*map(str, args), *words]))


def test_a_table_is_what_the_model_gives(weights, images, tmp_path, capsys):
    stored = embed(weights, images, tmp_path / "table", "--batch_size", 5)
    table, model = EmbeddingTable.open(stored.folder), ssl_dml.load(weights)
    paths = [images / name for name in table.names]
    assert_close(table.embeddings, torch.from_numpy(model.embed(paths)), rtol=1e-4, atol=1e-5)
    assert [path.parent.name for path in paths] == [
        stored.info.class_names[i] for i in table.labels
    ]
    assert len(paths) == stored.info.rows == 12
    assert table.names[0] == "a/0.png"
    assert open_sample(stored.info.data, table.names[0]).size == (30, 20)
    assert stored.info.weights == {"digest": model.digest, "path": str(weights)}
    assert "broken.png" in stored.info.data["damaged"][0]
    assert "1 damaged samples are left out; table.json names them" in capsys.readouterr().out
    assert stored.info.data["source"] == str(images)


def test_pooling_and_views_are_those_of_the_model(weights, images, tmp_path):
    stored = embed(weights, images, tmp_path / "t", "--pool", "layer:2", "--views", "flip")
    model = ssl_dml.load(weights, pool="layer:2", views="flip")
    rows = model.embed([images / name for name in stored.load().names])
    assert_close(stored.load().embeddings, torch.from_numpy(rows), rtol=1e-4, atol=1e-5)
    assert (stored.info.dim, stored.info.pool, stored.info.views) == (model.dim, "layer:2", "flip")


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nested") / "backbone"
    return saved(folder, ImageSpec.imagenet(16), nested=[8, 64])


@pytest.mark.parametrize("views", ["one", "flip"])
def test_a_prefix_is_the_first_values_of_each_view_at_length_1(nested, images, tmp_path, views):
    stored = embed(nested, images, tmp_path / "t", "--dim", 8, "--views", views)
    paths = [images / name for name in stored.load().names]
    rows = torch.from_numpy(ssl_dml.load(nested, dim=8, views=views).embed(paths))
    assert_close(stored.load().embeddings, rows, rtol=1e-4, atol=1e-5)
    assert (stored.info.dim, rows.shape[1]) == (8, 8)
    if views == "one":
        whole = torch.from_numpy(ssl_dml.load(nested).embed(paths))[:, :8]
        assert_close(rows, F.normalize(whole, dim=1), rtol=1e-4, atol=1e-5)


def test_a_prefix_that_was_not_trained_to_be_one_is_said(nested, weights, images, tmp_path, capsys):
    embed(nested, images, tmp_path / "8", "--dim", 8)
    assert "the model was trained" not in capsys.readouterr().out
    embed(nested, images, tmp_path / "16", "--dim", 16)
    assert "--dim 16: the model was trained with prefixes of [8, 64]" in capsys.readouterr().out
    embed(weights, images, tmp_path / "whole", "--dim", 8)
    assert "--dim 8: the model was trained as a whole, so what" in capsys.readouterr().out
    ordered = saved(tmp_path / "ordered", ImageSpec.imagenet(16), ordered=True)
    embed(ordered, images, tmp_path / "ordered_16", "--dim", 16)
    assert "the model was trained" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"dim must be from 1 to 64, .* got 65"):
        embed(nested, images, tmp_path / "65", "--dim", 65)
    with pytest.raises(ConfigError, match="with dim 8, and these have 16; name another folder"):
        embed(nested, images, tmp_path / "8", "--dim", 16)


def test_what_a_type_of_storage_keeps_is_said(weights, images, tmp_path, capsys):
    for dtype in ("float16", "int8", "bit"):
        embed(weights, images, tmp_path / dtype, "--dtype", dtype)
        said = capsys.readouterr().out
        assert f"{dtype} keeps" in said
        assert "of the ten nearest rows that float32 finds (95% interval" in said
        assert "recall@10 among 12 of the rows" in said
    embed(weights, images, tmp_path / "float32")
    assert "keeps" not in capsys.readouterr().out
    embed(weights, images, tmp_path / "int8", "--dtype", "int8")
    assert "keeps" not in capsys.readouterr().out  # nothing was embedded


def test_bits_are_sides_of_the_mean_and_what_is_printed_is_of_the_table(
    weights, images, tmp_path, capsys
):
    whole = embed(weights, images, tmp_path / "whole").load().embeddings
    capsys.readouterr()
    bits = embed(weights, images, tmp_path / "bits", "--dtype", "bit")
    printed = float(capsys.readouterr().out.partition("bit keeps ")[2].partition("%")[0])
    unit = F.normalize(whole, dim=1)
    assert (unit >= 0).all()  # signs of the features would all be alike
    center = torch.tensor(bits.info.levels["center"])
    assert_close(center, unit.mean(dim=0))
    found = bits.load().embeddings
    sides = (found > center) == (unit > center)
    assert sides[(unit - center).abs() > 1e-6].all()
    exact, near = unit @ unit.T, unit @ F.normalize(found, dim=1).T
    tens = (one.fill_diagonal_(-9).topk(10).indices.tolist() for one in (exact, near))
    kept = [len({*a} & {*b}) / 10 for a, b in zip(*tens, strict=True)]
    assert printed == pytest.approx(100 * sum(kept) / len(kept), abs=0.06)


def test_bits_that_go_on_keep_the_mean_of_all_rows(weights, images, tmp_path, monkeypatch):
    whole = embed(weights, images, tmp_path / "whole", "--dtype", "bit", "--shard_rows", "5")
    own = (weights, images, tmp_path / "t", "--dtype", "bit", "--shard_rows", "5")
    write = embed_table.write_part

    def stops(path, *given):
        if path.name.startswith("part-00001"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *given)

    monkeypatch.setattr(embed_table, "write_part", stops)
    with pytest.raises(OSError, match="No space left"):
        embed(*own)
    monkeypatch.undo()
    again = embed(*own)
    assert again.info.levels == whole.info.levels
    assert torch.equal(again.load().embeddings, whole.load().embeddings)


def test_columns_of_a_table_stay(weights, images, tmp_path):
    cells = [str(path) for path in sorted((images / "b").iterdir())]
    columns = {"image": cells, "label": [0, 1] * 3, "camera": list("xyzxyz")}
    rows = Dataset.from_dict(columns).cast_column("image", ImageFeature())
    rows.save_to_disk(tmp_path / "rows")
    part = next(embed(weights, tmp_path / "rows", tmp_path / "t").batches())
    assert part.columns == {"camera": list("xyzxyz")}
    assert part.labels.tolist() == [0, 1] * 3


@pytest.mark.slow
def test_a_killed_one_goes_on_and_two_processes_make_the_same(gray, tmp_path):
    own = ["--weights", gray, "--data.source", "fashion_mini", "--split", "test"]
    own += ["--shard_rows", "128", "--batch_size", "64"]
    run("embed", *own, "--output", tmp_path / "whole")
    process = start("embed", *own, "--output", tmp_path / "killed")
    wait_for(tmp_path / "killed/part-00001.parquet", process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("part-*.parquet")}
    with pytest.raises(ConfigError, match="is unfinished"):
        StoredTable(tmp_path / "killed")
    said = run("embed", *own, "--output", tmp_path / "killed")
    assert f"going on after {len(before) * 128:,} of 2,000 rows" in said
    for name, written in before.items():
        assert (tmp_path / "killed" / name).stat().st_mtime_ns == written
    run("embed", *own, "--output", tmp_path / "two", processes=2)
    whole = EmbeddingTable.open(tmp_path / "whole")
    for name in ("killed", "two"):
        other = EmbeddingTable.open(tmp_path / name)
        assert_close(other.embeddings, whole.embeddings, rtol=1e-5, atol=1e-6)
        assert other.names == whole.names
        assert torch.equal(other.labels, whole.labels)
        files = sorted(path.name for path in (tmp_path / name).iterdir())
        assert files == sorted(path.name for path in (tmp_path / "whole").iterdir())


def test_a_full_disk_leaves_what_is_finished(weights, images, tmp_path, monkeypatch):
    own = (weights, images, tmp_path / "t", "--shard_rows", "5")
    write, calls = embed_table.write_part, []

    def full(path, *given):
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *given)

    monkeypatch.setattr(embed_table, "write_part", full)
    with pytest.raises(OSError, match=r"cannot be written: No space left.*same command goes on"):
        embed(*own)
    names = sorted(path.name for path in (tmp_path / "t").iterdir())
    assert names == ["begun.json", "part-00000.parquet", "part-00001.parquet"]
    monkeypatch.undo()
    assert embed(*own).info.rows == 12


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--dtype", "int8"), "with dtype 'float32', and these have 'int8'; name another folder"),
        (("--pool", "gem"), "with pool None, and these have 'gem'"),
        (("--views", "crops"), "with views 'one', and these have 'crops'"),
    ],
)
def test_another_table_in_the_folder_is_refused(weights, images, tmp_path, more, words):
    first = embed(weights, images, tmp_path / "t")
    with pytest.raises(ConfigError, match=words):
        embed(weights, images, tmp_path / "t", *more)
    assert first.load().embeddings.shape[0] == 12


def test_the_same_again_does_nothing(weights, images, tmp_path):
    first = embed(weights, images, tmp_path / "t")
    written = (first.folder / "part-00000.parquet").stat().st_mtime_ns
    embed(weights, images, tmp_path / "t")
    assert (first.folder / "part-00000.parquet").stat().st_mtime_ns == written


def test_two_writers_do_not_meet(weights, images, tmp_path):
    lock = RunLock(tmp_path / "t", "output")
    with pytest.raises(ConfigError, match=r"output .* is in use by process .* with --output"):
        embed(weights, images, tmp_path / "t")
    lock.release()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--data.source", "fashion_mini"], "name a model: --run FOLDER, or --weights"),
        ([], "data.source"),
        (["--weights", "timm:resnet18"], "data.source"),
        (["--run", "nowhere"], "--run 'nowhere' is no run folder"),
        (["--weights", "gone", "--data.source", "fashion_mini"], "there is no such file or folder"),
        (
            ["--run", "x", "--data.source", "y", "--shard_rows", "0"],
            "shard_rows must be at least 1, got 0",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path, args, words):
    with pytest.raises(ConfigError, match=words):
        main([*args, "--output", str(tmp_path / "t")])
    assert not (tmp_path / "t").exists()


def test_a_file_needs_its_network_and_a_split_its_samples(weights, images, tmp_path):
    with pytest.raises(ConfigError, match="is a file; name its network by --run"):
        embed(weights / "model.safetensors", images, tmp_path / "t")
    with pytest.raises(ConfigError, match="has no test samples; leave --split out"):
        embed(weights, images, tmp_path / "t", "--split", "test")


def test_weights_that_give_no_numbers_are_named(images, tmp_path):
    network = TimmBackbone(ImageSpec.imagenet(16), **RESNET)
    with torch.no_grad():
        network.network.conv1.weight.fill_(3e38)
    folder, name = tmp_path / "model", "ssl_dml.backbones.TimmBackbone"
    save(network, folder, name, RESNET, trained={})
    with pytest.raises(ConfigError, match=r"the embedding of .*a/0\.png holds NaN or infinity"):
        embed(folder, images, tmp_path / "t")
