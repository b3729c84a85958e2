import copy

import torch
from PIL import Image

from ssl_dml.commands.drift_sheet import page_of, told, verdict
from ssl_dml.reporting.sections import Shown
from ssl_dml.tables import EmbeddingTable

FOUND = {
    "samples": 60, "chosen_from": 1000, "source": "new<i>", "run": "runs/a", "level": 0.01,
    "p": 0.0004, "differs": True, "reference": {"samples": 2048, "of": "training samples"},
    "kernel": {"mmd2": 0.01234, "p": 0.002}, "outside": {"value": 0.25, "radius": 0.5, "p": 0.001},
    "company": {"value": 1.5, "p": 0.03}, "growth": {"p": 0.04},
    "clusters": [
        {"new": 0.3, "reference": 0.1, "p": 0.001, "nearest_new": "n<b>", "nearest_reference": "r"},
        {"new": 0.2, "reference": 0.1, "p": 0.008, "nearest_new": "m", "nearest_reference": "s"},
    ],
    "unlike": [{"distance": 0.75}],
}  # fmt: skip


def test_the_verdict_says_how_many_of_what_and_beside_what():
    assert verdict(FOUND) == (
        "60 of 1,000 samples of new<i> differ from those of training: p = 0.0004 (level 0.01), "
        "beside 2,048 training samples"
    )
    like = FOUND | {"differs": False, "p": 0.4, "chosen_from": 60}
    assert verdict(like).startswith("60 samples of new<i> are like those of training as far as")


def test_every_statistic_has_a_line_with_its_own_p():
    lines = told(FOUND)
    assert lines[0] == verdict(FOUND)
    assert [line.split()[-1] for line in lines[1:]] == ["0.002", "0.001", "0.03", "0.04"]
    assert "squared discrepancy 0.01234" in lines[1]
    assert "of new samples 25.0%, of training 1%" in lines[2]
    assert "of new samples 30.0%, of training 10.0%" in lines[4]


def shown(name):
    table = EmbeddingTable(embeddings=torch.eye(2)[:1], labels=torch.full((1,), -1), names=[name])
    return Shown(table=table, class_names=[], images=[Image.new("L", (8, 8))], words="", columns={})


def test_the_page_shows_pairs_and_clusters_and_nothing_of_a_name_is_markup():
    html = page_of(FOUND, shown("new<u>.png"), shown("old.png"))
    assert html.count("data:image") == 2
    assert "0.750" in html
    assert "p 0.001: around n&lt;b&gt;" in html
    assert "<u>" not in html
    assert "No cluster holds more" not in html
    calm = copy.deepcopy(FOUND)
    calm["clusters"] = calm["clusters"][:1]
    calm["clusters"][0]["p"] = 0.5
    assert "No cluster holds more" in page_of(calm, shown("a.png"), shown("b.png"))
