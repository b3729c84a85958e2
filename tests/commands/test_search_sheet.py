"""The sheet of a query: what files and classes are called is text in it."""

import torch
from PIL import Image

from ssl_dml.commands.search_query import Hit, Query
from ssl_dml.commands.search_sheet import sheet
from ssl_dml.index import build_index
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.threshold_file import Limits

EVIL = "<script>alert(1)</script>"


def test_names_are_text_and_the_threshold_is_a_line(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "images/a.png")
    info = TableInfo(
        rows=0, dim=2, class_names=[EVIL], data={"source": str(tmp_path / "images")},
        weights={"digest": "ab" * 32, "path": "runs/a"},
    )  # fmt: skip
    batch = TableBatch(
        names=["a.png", f"{EVIL}.png"], labels=torch.tensor([0, -1]), embeddings=torch.eye(2)
    )
    index = build_index(write_table(tmp_path / "table", info, [batch]), tmp_path / "index")
    hits = [
        Hit(rank=1, score=0.9, path="a.png", class_name=EVIL, id=0),
        Hit(rank=2, score=0.4, path=f"{EVIL}.png", class_name=None, id=1),
    ]
    query = Query(path=tmp_path / "images/a.png", hits=hits, limits=Limits(0.5, 0.95))
    html = sheet([query], index)
    assert EVIL not in html
    assert html.count("<script") == 0
    assert html.count("data:image/jpeg;base64,") == 2  # the query, and the hit that has one
    assert "no thumbnail" in html
    assert "unknown: no match reaches 0.9500" in html
    line = html.index("threshold 0.5000: the one above is the same")
    assert html.index("0.900") < line < html.index("0.400")
    assert "default-src 'none'" in html
    assert "1 query" in html
