"""``ssl_dml search`` as a user runs it: what it prints, writes and refuses."""

import json
import os
import struct
import zlib
from dataclasses import replace

import pytest
import torch
from indexes import stored
from launching import ROOT, Command, completed
from PIL import Image

import ssl_dml
from ssl_dml.backbones import TimmBackbone
from ssl_dml.backbones.saved import save
from ssl_dml.commands.search import main
from ssl_dml.tables import StoredTable, TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError, ImageSpec

COLORS = {"red": (220, 30, 20), "green": (20, 200, 40), "blue": (30, 40, 220)}
SCRIPT = ROOT / "scripts/search.py"


def saved(folder, seed):
    torch.manual_seed(seed)
    args = {"name": "resnet18", "width": 0.125}
    backbone = TimmBackbone(ImageSpec.imagenet(32), **args)
    save(backbone, folder, "ssl_dml.backbones.TimmBackbone", args, trained={})
    return ssl_dml.load(folder, device="cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images of three colors, a model, and a table of both."""
    root = tmp_path_factory.mktemp("world")
    names = [f"{name}/{i}.png" for name in COLORS for i in range(6)]
    for number, name in enumerate(names):
        color = COLORS[name.partition("/")[0]]
        image = Image.new("RGB", (40, 30), "white")
        image.paste(color, (number, 2, number + 15, 2 + 3 * (number % 6) + 8))
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / "images" / name)
    model = saved(root / "model", 0)
    saved(root / "other", 1)
    embeddings = torch.from_numpy(model.embed([root / "images" / name for name in names]))
    classes = list(COLORS)
    labels = torch.tensor([classes.index(name.partition("/")[0]) for name in names])
    weights = {"digest": model.digest, "path": str(root / "model")}
    data = {"source": str(root / "images")}
    info = TableInfo(rows=0, dim=model.dim, class_names=classes, weights=weights, data=data)
    batch = TableBatch(names=names, labels=labels, embeddings=embeddings)
    write_table(root / "table", info, [batch])
    return root


@pytest.fixture
def index(world, tmp_path, capsys):
    main(["build", str(world / "table"), "--output", str(tmp_path / "index")])
    capsys.readouterr()
    return tmp_path / "index"


def test_a_table_is_built_and_searched_as_a_user_does(world, tmp_path):
    done = completed(SCRIPT, "build", world / "table", "--output", tmp_path / "index")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("exact search: 18 rows take ")
    assert done.stdout.splitlines()[0].endswith("; 18 thumbnails")
    image = world / "images/green/3.png"
    done = completed(SCRIPT, "query", tmp_path / "index", image, "--k", 4)
    assert done.returncode == 0, done.stderr
    first, best, *others = done.stdout.splitlines()
    assert first == str(image)
    assert best.split() == ["1", "1.0000", "green", "green/3.png"]
    assert len(others) == 3


def test_a_folder_of_queries_is_written_as_json_and_as_a_page(world, index, tmp_path, capsys):
    files = {name: tmp_path / f"found.{name}" for name in ("json", "html")}
    folder = tmp_path / "queries"
    folder.mkdir()
    for name in ("red/1.png", "blue/2.png"):
        (folder / name.replace("/", "_")).write_bytes((world / "images" / name).read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG no image")
    keys = [f"--{name}={path}" for name, path in files.items()]
    main(["query", str(index), str(folder), "--k=3", *keys])
    said = capsys.readouterr().out
    assert f"left out: {folder / 'broken.png'} cannot be embedded" in said
    found = json.loads(files["json"].read_text())
    assert [one["query"] for one in found["queries"]] == [
        str(folder / "blue_2.png"), str(folder / "red_1.png"),
    ]  # fmt: skip
    best = found["queries"][1]["results"][0]
    assert (best["path"], best["class_name"], best["rank"]) == ("red/1.png", "red", 1)
    assert best["score"] == pytest.approx(1, abs=1e-5)
    page = files["html"].read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2 * (1 + 3)
    assert "http" not in page.replace("http-equiv", "")


def test_names_are_text_in_the_page(world, index, tmp_path):
    name = "<script>alert(1)</script>&.png"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name.replace("/", "_")).write_bytes((world / "images/red/1.png").read_bytes())
    main(["query", str(index), str(tmp_path / "a"), "--html", str(tmp_path / "x.html")])
    page = (tmp_path / "x.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;_script&gt;&amp;.png" in page


def bomb(path, side=60_000):
    """A PNG of so many pixels a side, in few bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(bytes(10**6))),
        chunk(b"IEND", b""),
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_a_query_that_cannot_be_read_is_one_line(world, index, tmp_path):
    cut = tmp_path / "cut.png"
    cut.write_bytes((world / "images/red/1.png").read_bytes()[:60])
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in (
        (cut, "truncated|no image"),
        (bomb(tmp_path / "bomb.png"), "has 3,600,000,000 pixels"),
        (tmp_path / "pipe.png", "is a pipe, and no file"),
        (tmp_path / "nothing.png", "No such file"),
    ):
        with pytest.raises(ConfigError, match=rf"^{path} cannot be embedded: .*({reason})"):
            main(["query", str(index), str(path)])


def test_a_query_by_another_model_is_refused_by_name(world, index):
    image = str(world / "images/red/1.png")
    with pytest.raises(ConfigError, match=r"was embedded by .*/model .*, and not by .*/other "):
        main(["query", str(index), image, "--weights", str(world / "other")])
    with pytest.raises(ConfigError, match=r"the model of .*: .*/gone .*; give it with --weights"):
        main(["query", str(index), image, "--weights", str(world / "gone")])


def test_an_index_of_a_prefix_is_searched_by_that_prefix(world, tmp_path):
    table = StoredTable(world / "table")
    rows = table.load().embeddings[:, :8]
    info = replace(table.info, dim=8)
    labels = table.load().labels
    batch = TableBatch(names=table.load().names, labels=labels, embeddings=rows)
    write_table(tmp_path / "table", info, [batch])
    folder = tmp_path / "index"
    main(["build", str(tmp_path / "table"), "--output", str(folder)])
    found = tmp_path / "found.json"
    query = world / "images/red/3.png"
    main(["query", str(folder), str(query), "--k", "2", "--json", str(found)])
    first, second = json.loads(found.read_text())["queries"][0]["results"]
    assert first["path"] == "red/3.png"
    assert first["score"] == pytest.approx(1, abs=1e-4)
    unit = torch.nn.functional.normalize(rows, dim=1)
    cosines = (unit @ unit[3]).sort(descending=True).values
    assert second["score"] == pytest.approx(cosines[1].item(), abs=1e-4)


def test_rows_come_and_go(world, index, tmp_path, capsys):
    main(["remove", str(index), "red/1.png", "red/2.png"])
    assert capsys.readouterr().out == "2 rows removed; 16 are left\n"
    main(["query", str(index), str(world / "images/red/1.png"), "--k", "100"])
    said = capsys.readouterr().out
    assert "red/1.png" not in said.partition("\n")[2]
    assert len(said.splitlines()) == 17
    main(["add", str(index), str(world / "table")])
    said = capsys.readouterr().out
    assert said.startswith("18 rows added; 16 of them take the place of earlier rows; exact")
    with pytest.raises(ConfigError, match=r"has no row with the path 'red/99.png'"):
        main(["remove", str(index), "red/99.png"])
    with pytest.raises(ConfigError, match=r"was embedded by .*, and not by runs/mine"):
        main(["add", str(index), str(stored(tmp_path / "other").folder)])


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["build", "--help"]])
def test_help_is_no_mistake(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    assert "ssl_dml search build" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frob"], "there is no search 'frob'; choose one of build, query, add, remove"),
        (["build", "TABLE", "more"], "'more' is one word too many"),
        (["build", "TABLE", "--memory", "lots"], "--memory must be a size such as 4GB"),
        (["build", "TABLE", "--memory", "1B"], r"--memory 0.0 kB is too little: even bits of 18"),
        (["build", "TABLE", "--thumbnails", "9999"], "--thumbnails must be from 0 to 1024"),
        (["build", "nothing"], "nothing is no table: it lacks table.json"),
        (["query", "INDEX"], "no image to search with"),
        (["query", "INDEX", "a.png", "--k", "0"], "--k must be at least 1, got 0"),
        (["query", "INDEX", "a.png", "--json", "no/a.json"], "there is no folder no"),
        (["query", "TABLE", "a.png"], r"is no index: it has no index.json; ssl_dml search build"),
        (["query", "INDEX", "EMPTY"], "has no images"),
        (["remove", "INDEX"], "no row to remove"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(world, index, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    places = {"TABLE": world / "table", "INDEX": index, "EMPTY": tmp_path / "empty"}
    with pytest.raises(ConfigError, match=message):
        main([str(places.get(word, word)) for word in arguments])


def test_a_killed_addition_leaves_the_index_that_was(world, index, tmp_path):
    """A real process is killed while it makes thumbnails."""
    info = StoredTable(world / "table").info
    rows = torch.randn(15_000, info.dim, generator=torch.Generator().manual_seed(0))
    names = [f"red/{i % 6}.png" for i in range(len(rows))]
    batch = TableBatch(
        names=names, labels=torch.zeros(len(rows), dtype=torch.int64), embeddings=rows
    )
    write_table(tmp_path / "large", info, [batch])
    adding = Command(SCRIPT, "add", index, tmp_path / "large")
    while not (index / "00001.rows").exists():
        assert adding.poll() is None, adding.communicate()[1]
    with pytest.raises(ConfigError, match="is being written by another process; wait for it"):
        main(["add", str(index), str(world / "table")])
    adding.kill()
    adding.communicate()
    assert (index / "00001.rows").exists()
    main(["remove", str(index), "red/1.png"])
    assert not (index / "00001.rows").exists()
    done = completed(SCRIPT, "query", index, world / "images/red/2.png", "--k", 50)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + 17
