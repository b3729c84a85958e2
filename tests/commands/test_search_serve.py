"""``ssl_dml search serve`` as a user runs it: the page of a real index, and what is refused."""

import json
import re
import signal
import time
import urllib.error
import urllib.request

import pytest
import torch
from launching import ROOT, Command
from PIL import Image

import ssl_dml
from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.commands import search_serve
from ssl_dml.commands.search import main
from ssl_dml.commands.search_serve import ServeConfig, limits_of, serve
from ssl_dml.files import write_json
from ssl_dml.index.index import Index, build_index
from ssl_dml.reading import read_json
from ssl_dml.serve import listen
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.threshold_file import Limits
from ssl_dml.types import ConfigError, ImageSpec

OPTIONS = {"name": "resnet18", "width": 0.125}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images, a model of random weights, and the index of the images by it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "images").mkdir()
    paths = [folder / "images" / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.effect_noise((20 + number, 20), 20 + 20 * number).save(path)
    torch.manual_seed(0)
    backbone = TimmBackbone(ImageSpec.imagenet(32), **OPTIONS)
    save(backbone, folder / "model", "ssl_dml.backbones.TimmBackbone", OPTIONS, trained={})
    model = ssl_dml.load(folder / "model")
    info = TableInfo(
        rows=6,
        dim=model.dim,
        weights={"digest": model.digest, "path": str(folder / "model")},
        data={"source": str(folder / "images")},
    )
    batch = TableBatch(
        names=[path.name for path in paths],
        labels=torch.full((6,), -1),
        embeddings=torch.from_numpy(model.embed(paths)),
    )
    build_index(write_table(folder / "table", info, [batch]), folder / "index")
    return folder


def ask(where, path, body=None):
    request = urllib.request.Request(f"{where}{path}", body, {"Origin": where.rstrip("/")})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_an_image_of_the_index_finds_itself_until_ctrl_c(made):
    command = Command(ROOT / "scripts/search.py", "serve", made / "index", "--port", 0)
    for _ in range(2000):
        if (
            found := re.search(r"search page: (http://127.0.0.1:\d+/)\n", command.printed)
        ) is not None:
            break
        assert command.poll() is None, command.communicate()[1]
        time.sleep(0.02)
    shown = ask(found[1], "api/embed", (made / "images/3.png").read_bytes())
    term = {"embedding": shown["embedding"], "sign": 1}
    rows = ask(found[1], "api/search", json.dumps({"terms": [term], "k": 2}).encode())["rows"]
    assert rows[0]["name"] == "3.png"
    assert rows[0]["score"] == pytest.approx(1, abs=1e-4)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(30)
    assert (command.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "Ctrl-C stops it"


def test_a_port_in_use_is_a_line(made):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^--port {port} is in use: choose another"):
            main(["serve", str(made / "index"), "--port", str(port)])


def test_another_model_is_refused_by_name(made, tmp_path):
    torch.manual_seed(1)
    backbone = TimmBackbone(ImageSpec.imagenet(32), **OPTIONS)
    save(backbone, tmp_path / "other", "ssl_dml.backbones.TimmBackbone", OPTIONS, trained={})
    words = r"was embedded by .*/model \(digest .*\), and not by .*/other"
    with pytest.raises(ConfigError, match=words):
        main(["serve", str(made / "index"), "--port", "0", "--weights", str(tmp_path / "other")])


def test_recordings_are_refused(tmp_path):
    batch = TableBatch(names=["a.wav"], labels=torch.tensor([-1]), embeddings=torch.ones(1, 2))
    info = TableInfo(rows=1, dim=2, modality="sequence")
    build_index(write_table(tmp_path / "table", info, [batch]), tmp_path / "index")
    with pytest.raises(ConfigError, match="is of sequences, and the page searches with images"):
        serve(ServeConfig(index=tmp_path / "index"))


def test_what_is_not_installed_is_named(made, monkeypatch):
    monkeypatch.setattr(search_serve, "find_spec", lambda name: None if name == "uvicorn" else 1)
    with pytest.raises(ConfigError, match=r"needs uvicorn: pip install 'ssl_dml\[serve\]'"):
        serve(ServeConfig(index=made / "index"))


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_out_of_range_is_refused(made, port):
    with pytest.raises(ConfigError, match="--port must be from 0 to 65535"):
        main(["serve", str(made / "index"), f"--port={port}"])


def test_limits_are_those_of_the_index_or_of_the_model(made, tmp_path):
    index = Index.open(made / "index")
    assert limits_of(index) == Limits()
    for folder in (tmp_path, tmp_path / "backbone"):
        folder.mkdir(exist_ok=True)
        write_json(folder / "backbone.json", {"threshold": 0.5 + 0.1 * (folder == tmp_path)})
        assert limits_of(index, str(tmp_path)).same == pytest.approx(0.6)
    (tmp_path / "backbone.json").unlink()
    assert limits_of(index, str(tmp_path)) == Limits(0.5)
    for wrong in (1.5, "x", True):
        write_json(tmp_path / "backbone.json", {"threshold": wrong})
        with pytest.raises(ConfigError, match="threshold must be from -1 to 1"):
            limits_of(index, str(tmp_path))
    own = read_json(made / "index/index.json")
    write_json(made / "index/index.json", {**own, "threshold": 0.25})
    assert limits_of(Index.open(made / "index"), str(tmp_path)) == Limits(0.25)
    write_json(made / "index/index.json", own)
