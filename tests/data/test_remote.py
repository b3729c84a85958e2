import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.remote import copied


@pytest.fixture
def shards(tmp_path):
    """Parquet tables of two splits and a zip of class folders."""
    datasets = pytest.importorskip("datasets")
    root = tmp_path / "there"
    root.mkdir()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    for split, count in (("train-0", 4), ("train-1", 6), ("test-0", 2)):
        images = [Image.fromarray(np.full((8, 8), 20 * i, np.uint8)) for i in range(count)]
        rows = {"image": images, "label": [i % 2 for i in range(count)]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(root / f"{split}.parquet")
    return root


@pytest.fixture
def server(shards):
    """The folder on a server of this machine, and what was asked of it."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, _, *args):
            asked.append(str(args[0]))

    handler = functools.partial(Handler, directory=str(shards))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def test_a_table_on_a_server_is_copied_once(server, tmp_path):
    pytest.importorskip("aiohttp")
    address, asked = server
    config = DataConfig(source=f"{address}/train-1.parquet", cache_dir=tmp_path / "cache")
    first = load_train(config)
    (copy,) = (tmp_path / "cache").rglob("*.parquet")
    written = copy.stat().st_mtime_ns
    again = load_train(config)
    assert any("GET" in line for line in asked)
    assert len(first) == len(again) == 6
    assert first.labels.tolist() == [0, 1] * 3
    assert torch.equal(first[torch.arange(6)][0], again[torch.arange(6)][0])
    assert copy.stat().st_mtime_ns == written
    assert first.fingerprint == again.fingerprint


def test_a_missing_file_of_a_server_is_named(server, tmp_path):
    pytest.importorskip("aiohttp")
    config = DataConfig(source=f"{server[0]}/gone.parquet", cache_dir=tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"gone\.parquet' cannot be read: "):
        load_train(config)


def test_shards_of_a_pattern_keep_their_splits(shards, tmp_path):
    source = f"file://{shards}/*.parquet"
    config = DataConfig(source=source, cache_dir=tmp_path / "cache")
    train = load_train(config)
    assert len(train) == 10
    assert len(load_test(config, train)) == 2
    with pytest.raises(ConfigError, match="there is no such file"):
        load_train(DataConfig(source=f"file://{shards}/*.tar", cache_dir=tmp_path / "cache"))


def test_a_copy_that_was_cut_off_is_made_again(shards, tmp_path):
    address = f"file://{shards}/train-0.parquet"
    path = copied(address, tmp_path)
    whole = path.read_bytes()
    assert whole == (shards / "train-0.parquet").read_bytes()
    path.write_bytes(whole[:100])
    path.with_name("train-0.parquet.part").write_bytes(b"half")
    assert copied(address, tmp_path).read_bytes() == whole
    assert not path.with_name("train-0.parquet.part").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [("nothing://x/a.tar", "cannot be read: Protocol not known"), ("abfs://x/a.tar", "needs a")],
)
def test_an_address_that_cannot_be_read_is_one_line(tmp_path, source, words):
    with pytest.raises(ConfigError, match=words) as error:
        load_train(DataConfig(source=source, cache_dir=tmp_path))
    assert "\n" not in str(error.value)


def test_offline_takes_the_copy_or_refuses(server, tmp_path, monkeypatch):
    address, asked = server
    kept = copied(f"{address}/train-0.parquet", tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(asked)
    assert copied(f"{address}/train-0.parquet", tmp_path) == kept
    for name in ("train-1.parquet", "train-*.parquet"):
        with pytest.raises(ConfigError, match="is not in the cache, and HF_HUB_OFFLINE is set"):
            copied(f"{address}/{name}", tmp_path)
    assert len(asked) == before
    (tmp_path / "a.bin").write_bytes(b"a")
    assert copied(f"file://{tmp_path}/a.bin", tmp_path).read_bytes() == b"a"
