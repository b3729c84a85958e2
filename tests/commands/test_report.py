"""The page is whole whatever a run has or lacks, and says what is left out."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch
import yaml
from PIL import Image

from ssl_dml.backbones import Backbone, TimmBackbone, save
from ssl_dml.commands import report as command
from ssl_dml.commands.report import main
from ssl_dml.evaluation import map as maps
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

NETWORK = "ssl_dml.backbones.TimmBackbone"
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
EVIL = "<script>alert(1)<_script>"
METHOD = {"class_path": "ssl_dml.methods.SimCLR"}
ROWS = [
    {"step": 0, "epoch": 0.0, "eval/knn_top1": 0.5, "eval/rankme": 3.0},
    {"step": 5, "epoch": 0.5, "train/loss": 2.0},
    {"step": 10, "epoch": 1.0, "eval/knn_top1": 0.75, "eval/rankme": 5.0, "train/loss": 1.0},
]


@pytest.fixture(autouse=True)
def _no_slow_map(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda _: None)


class Means(Backbone):
    """Loudness of four parts of a sequence."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, 4
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, sequences):
        return self.scale * sequences.abs().unflatten(2, (4, -1)).mean(dim=(1, 3))


def described(folder, **config):
    """What a run folder says of its run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "data.json").write_text('{"source": "x", "samples": 60}')
    return folder


def drawn_run(tmp_path, *, seed=0, name="run", **options):
    """A run whose backbone was never trained, and its 60 images of three classes."""
    rng = np.random.default_rng(0)
    for label in ("0", "1", EVIL):
        (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
        for i in range(20):
            array = rng.integers(0, 60 + 60 * len(label), (8, 8)) % 256
            path = tmp_path / "images" / label / f"{i}.png"
            Image.fromarray(array.astype(np.uint8)).save(path)
    torch.manual_seed(seed)
    network = TimmBackbone(ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.25,)), **RESNET)
    folder = tmp_path / name
    save(network, folder / "backbone", NETWORK, RESNET, trained={"steps": 10})
    data = {"source": str(tmp_path / "images"), **options}
    return described(folder, method=METHOD, data=data, train={"epochs": 1})


def reported(tmp_path, *args):
    return main([*map(str, args), "--output", str(tmp_path / "a.html")]).read_text()


def sections(html):
    return re.findall(r"<h3>([^<]*)</h3>", html)


def map_of(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


ALL = [
    *("Measured for this report", "Data", "Views of the augmentation", "Embeddings"),
    *("Map of embeddings", "Nearest neighbors", "Worst confusions", "Hubs and outliers"),
    *("Similarities of pairs", "Configuration and environment"),
]


def test_a_finished_run_has_every_part(tmp_path, capsys):
    html = reported(tmp_path, drawn_run(tmp_path), "--samples", 50)
    assert sections(html) == ALL
    assert "50 of 60 training samples" in html
    assert "finished" in html
    assert "<script>alert" not in html
    shown = map_of(html)
    assert len(shown["names"]) == 50
    assert shown["names"][0].startswith("0/")
    assert all(len(points) == 100 for points in shown["maps"].values())
    assert shown["columns"]["class"]["names"] == ["0", "1", EVIL]
    assert "pip install &#x27;ssl_dml[report]&#x27;" in html  # UMAP and t-SNE are switched off
    assert re.search(r"report of 0\.\d MB in \d+ s: .*a\.html", capsys.readouterr().out)


def test_the_same_run_gives_the_same_measures(tmp_path):
    folder = drawn_run(tmp_path)
    pages = [reported(tmp_path, folder) for _ in range(2)]
    first, second = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", page) for page in pages)
    assert first == second


def test_runs_side_by_side_are_compared_on_the_same_samples(tmp_path):
    first, second = drawn_run(tmp_path), drawn_run(tmp_path, seed=1, name="other")
    html = reported(tmp_path, first, second)
    assert re.search(r">[+-]\d+\.\d% \([+-]\d+\.\d% to [+-]\d+\.\d%\)</td>", html)
    assert html.count('class="sprite"') == 1  # one sheet for both
    assert "Report of run, other" in html


def test_without_labels_what_needs_them_is_left_out_and_said(tmp_path):
    html = reported(tmp_path, drawn_run(tmp_path, use_labels=False))
    assert sections(html) == [s for s in ALL if s not in ("Worst confusions", ALL[8])]
    assert "no labels: no hits and misses, confusions, or similarities by class" in html


def test_an_unfinished_run_says_that_it_has_no_backbone(tmp_path, capsys):
    folder = drawn_run(tmp_path)
    shutil.rmtree(folder / "backbone")
    html = reported(tmp_path, folder)
    assert "has no backbone yet: finish it with --resume true" in html
    assert sections(html) == [*ALL[1:4], ALL[9]]
    assert "stopped" in html
    assert "the embeddings are left out" in capsys.readouterr().out


def test_a_run_whose_data_are_gone_says_so(tmp_path):
    folder = drawn_run(tmp_path)
    shutil.rmtree(tmp_path / "images")
    html = reported(tmp_path, folder)
    assert "left out: data.source" in html
    assert "there is no such file or folder" in html
    assert "Training loss" in html


def test_a_damaged_backbone_and_missing_files_are_said(tmp_path):
    folder = drawn_run(tmp_path)
    for path in folder.glob("backbone/*.safetensors"):
        path.write_bytes(b"x")
    (folder / "data.json").unlink()
    (folder / "metrics.jsonl").unlink()
    html = reported(tmp_path, folder)
    assert "is damaged" in html
    assert "data.json is missing" in html
    assert "no curves" in html


def test_a_fine_tuned_run_shows_its_margin_and_recall(tmp_path):
    folder = drawn_run(tmp_path)
    head = {"class_path": "x.MarginSoftmax", "init_args": {"margin": {"class_path": "x.ArcFace"}}}
    data = {"source": str(tmp_path / "images")}
    described(folder, head=head, data=data, train={"steps": 10})
    rows = [{"step": i, "epoch": 1.0, "eval/recall_at_1": 0.5 + i / 10} for i in (0, 4)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    html = reported(tmp_path, folder)
    assert "<td>ArcFace</td>" in html
    assert "<td>recall@1</td>" in html
    assert sections(html) == ALL


def test_an_audio_run_shows_waveforms(tmp_path):
    rng = np.random.default_rng(0)
    for label, volume in (("quiet", 0.1), ("loud", 0.8)):
        (tmp_path / "audio" / label).mkdir(parents=True)
        for i in range(8):
            values = volume * rng.uniform(-1, 1, 800)
            soundfile.write(tmp_path / "audio" / label / f"{i}.wav", values, 8000)
    spec = SequenceSpec(channels=1, length=800, mean=(0.0,), std=(1.0,), sampling_rate=8000)
    path = f"{Means.__module__}.Means"
    save(Means(spec), tmp_path / "run/backbone", path, {}, trained={"steps": 10})
    data = {"source": str(tmp_path / "audio"), "sequences": {"sampling_rate": 8000}}
    html = reported(tmp_path, described(tmp_path / "run", method=METHOD, data=data))
    assert sections(html) == ALL
    assert 'class="thumb wide' in html


def a_table(tmp_path, *, labels=True):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(20):
        Image.new("RGB", (9, 9), (12 * i, 0, 0)).save(tmp_path / f"images/{i}.png")
    batches = [
        TableBatch(
            names=[f"{i}.png" for i in range(first, first + 15)],
            labels=torch.arange(first, first + 15) % 2 if labels else torch.full((15,), -1),
            embeddings=torch.from_numpy(rng.normal(size=(15, 4)).astype(np.float32)),
            columns={"year": list(range(first, first + 15)), "by": ["<a>", None, "c"] * 5},
        )
        for first in (0, 15)
    ]
    info = TableInfo(rows=30, dim=4, class_names=["x", "y"] if labels else None,
                     data={"source": str(tmp_path / "images")})  # fmt: skip
    return write_table(tmp_path / "table", info, batches).folder


def test_a_table_is_shown_without_a_run_with_its_further_columns(tmp_path):
    html = reported(tmp_path, "--table", a_table(tmp_path), "--samples", 29)
    assert sections(html) == [*ALL[3:9]]
    shown = map_of(html)
    assert shown["columns"]["by"]["names"] == ["<a>", "c"]
    assert shown["columns"]["year"]["high"] in (28, 29)
    assert sum(shown["shown"]) in (19, 20)
    assert re.search(r"(9|10) images are left out: ", html)
    assert "29 of 30 rows of " in html


def test_a_table_serves_for_a_run(tmp_path):
    folder = described(tmp_path / "run", method=METHOD, data={"source": "gone"})
    html = reported(tmp_path, folder, "--table", a_table(tmp_path, labels=False))
    assert "Map of embeddings" in sections(html)
    assert "no labels" in html


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "name a run folder, or --table"),
        (["nowhere"], "'nowhere' is no run folder: it has no config.yaml"),
        (["x", "y", "--table", "t"], "--table is of one run, and 2 are given"),
        (["--table", "nowhere"], "nowhere is no table"),
        (["x", "--samples", "2"], "samples must be from 3 to 5000, got 2"),
        (["x", "--output", "no/a.html"], "there is no folder no"),
        (["x", "--output", "."], "is a folder; name a file"),
        (["x", "--outptu", "a"], "did you mean output"),
    ],
)
def test_a_mistake_is_one_line(args, words):
    with pytest.raises(ValueError, match=r".") as raised:
        main(args)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_page_that_is_too_large_is_refused_and_the_old_one_stays(tmp_path, monkeypatch):
    folder = drawn_run(tmp_path)
    (tmp_path / "a.html").write_text("before")
    monkeypatch.setattr(command, "MOST_BYTES", 10_000)
    with pytest.raises(ConfigError, match=r"the report has 0\.\d MB, above 0: lower --samples"):
        reported(tmp_path, folder)
    assert (tmp_path / "a.html").read_text() == "before"


@pytest.mark.slow  # a browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_in_a_browser(tmp_path, scheme, width):
    browsers = pytest.importorskip("playwright.sync_api")
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium")
    path = tmp_path / "a.html"
    reported(tmp_path, drawn_run(tmp_path))
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shown = map_of(path.read_text())
        canvas = page.locator(".map canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = next(iter(shown["maps"].values()))[:2]
        page.mouse.move(
            box["x"] + 12 + x / 1e4 * (box["width"] - 24),
            box["y"] + 12 + y / 1e4 * (box["height"] - 24),
        )
        tip = page.locator(".tip").first
        assert tip.is_visible()
        assert any(name in tip.inner_text() for name in shown["names"])
        assert tip.locator("canvas").count() == 1
        canvas.focus()
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        page.keyboard.press("ArrowRight")
        assert shown["names"][0] in tip.inner_text()
        page.locator(".controls select").nth(1).select_option("cluster")
        assert page.locator(".legend button").count() == 3
        page.pdf(path=str(tmp_path / "a.pdf"))
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", path.as_uri()))] == []
