"""What the server answers to the page, and to what no page would ask."""

import base64
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from ssl_dml.index.index import build_index
from ssl_dml.serve import Access, Site, build_app, uploads
from ssl_dml.serve.app import MOST_JSON, PAGE
from ssl_dml.serve.uploads import pack
from ssl_dml.serve.work import Workers
from ssl_dml.tables import TableBatch, TableInfo, write_table

LOCAL = "http://127.0.0.1"


def encoded(image, format="PNG"):
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def ask(client, *terms, k=5, **others):
    answer = client.post("/api/search", json={"terms": list(terms), "k": k, **others})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_page_is_three_files_that_name_no_other_place(client):
    html = client.get("/").text
    assert "http" not in html
    assert "style=" not in html
    assert "onclick" not in html
    for name, kind in (
        ("page.js", "text/javascript"),
        ("style.css", "text/css"),
        ("icon.svg", "image/svg"),
    ):
        answer = client.get(f"/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert "//" not in answer.text.replace("// ", "").replace("http://www.w3.org/2000/svg", "")
        assert name in html


def test_the_index_is_described(client):
    about = client.get("/api/index").json()
    assert (about["name"], about["rows"], len(about["classes"])) == ("colors", 60, 6)
    assert about["folders"][:2] == [["cold", "cold"], ["cold/blue", "cold/blue"]]
    assert about["classes"][1] == [1, "yellow"]
    assert about["limits"] == {"bytes": 32 << 20, "terms": 32}


def test_an_image_is_embedded_and_found(client, index):
    answer = client.post("/api/embed", content=index.thumbnail(33))
    assert answer.status_code == 200
    shown = answer.json()
    assert Image.open(io.BytesIO(base64.b64decode(shown["thumbnail"].partition(",")[2]))).size == (
        24,
        24,
    )
    first, second, *_ = ask(client, {"embedding": shown["embedding"], "sign": 1})["rows"]
    assert (first["id"], first["name"], first["class"]) == (33, "cold/cyan/33.png", "cyan")
    assert first["score"] == pytest.approx(1, abs=1e-5)
    assert second["id"] in (32, 34)


def test_a_result_leads_on_and_is_not_its_own_result(client):
    found = [row["id"] for row in ask(client, {"id": 10, "sign": 1})["rows"]]
    assert found[0] in (9, 11)
    assert 10 not in found


def test_the_threshold_is_for_single_images(client):
    like, unlike = {"id": 1, "sign": 1}, {"id": 2, "sign": -1}
    assert ask(client, like)["threshold"] == 0.9
    assert [
        ask(client, *terms)["threshold"] for terms in ((), (like, like), (like, unlike), (unlike,))
    ] == [None] * 4


def test_a_query_like_nothing_of_the_index_is_unknown(client):
    asked = [{"embedding": pack(np.full(3, x, np.float32)), "sign": 1} for x in (1.0, -1.0)]
    found = [ask(client, one) for one in asked]
    assert [one["rows"][0]["score"] < 0.9 for one in found] == [True, True]
    assert [one["refusal"] for one in found] == ["unknown: no match reaches 0.9000"] * 2
    assert ask(client, {"id": 1, "sign": 1})["refusal"] is None
    assert ask(client, *asked[:1], {"id": 2, "sign": -1})["refusal"] is None  # of a mean


def test_results_are_filtered(client):
    rows = ask(client, {"id": 1, "sign": 1}, folder="cold/blue", label=4)["rows"]
    assert [row["class"] for row in rows] == ["blue"] * 5


def test_thumbnails_are_cached_by_their_content(client, index):
    answer = client.get("/thumbnail/7")
    assert (answer.content, answer.headers["content-type"]) == (index.thumbnail(7), "image/jpeg")
    tag = answer.headers["etag"]
    again = client.get("/thumbnail/7", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/thumbnail/8", headers={"If-None-Match": tag}).status_code == 200


ELSEWHERE = """
/thumbnail/60 /thumbnail/-1 /thumbnail/99999999999999999999999 /thumbnail/1.5 /thumbnail/
/thumbnail/..%2f..%2fetc%2fpasswd /..%2f..%2fetc%2fpasswd /%2e%2e/%2e%2e/etc/passwd //etc/passwd
/page/index.html /app.py /../app.py /index.html%00 /api /thumbnail/0x1 /thumbnail/%D9%A1%00
"""


@pytest.mark.parametrize("path", ELSEWHERE.split())
def test_there_is_nothing_else(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("path", ["/api/embed", "/api/search"])
def test_what_is_for_posts_is_not_got(client, path):
    assert client.get(path).status_code == 405


def test_a_large_upload_is_refused_in_a_sentence(client, monkeypatch):
    monkeypatch.setattr("ssl_dml.serve.app.MAX_BYTES", 1 << 20)
    for content in (bytes((1 << 20) + 1), bytes(9 << 20), (bytes(1 << 16) for _ in range(17))):
        answer = client.post("/api/embed", content=content)
        assert (answer.status_code, answer.json()) == (413, {"error": "This has more than 1 MB."})


def test_a_large_question_is_refused(client):
    answer = client.post("/api/search", content=b" " * (MOST_JSON + 1))
    assert answer.status_code == 413


def test_what_is_no_image_is_refused_in_a_sentence(client):
    answer = client.post("/api/embed", content=b"<svg><script>alert(1)</script></svg>")
    assert answer.status_code == 400
    assert answer.json() == {"error": "This file is no image that Pillow can read."}


def test_too_many_pixels_are_refused_in_a_sentence(client, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PIXELS", 100)
    answer = client.post("/api/embed", content=encoded(Image.new("L", (11, 10))))
    assert answer.status_code == 400
    assert answer.json()["error"] == "This file has 110 pixels, and at most 100 are read."


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b"\xff", b"NaN", b'{"terms": [], "k": 1e999}']
)
def test_a_damaged_question_is_refused_in_a_sentence(client, body):
    answer = client.post("/api/search", content=body)
    assert answer.status_code == 400
    sentence = answer.json()["error"]
    assert sentence[0].isupper()
    assert sentence.endswith(".")


def test_a_mistake_of_ours_tells_nothing_of_the_inside(site):
    def embed(_):
        raise RuntimeError("secret path /home/me")

    app = build_app(Site(name="x", index=site.index, embed=embed), Access(host="127.0.0.1"))
    client = TestClient(app, LOCAL, headers={"Origin": LOCAL}, raise_server_exceptions=False)
    answer = client.post("/api/embed", content=encoded(Image.new("L", (4, 4))))
    assert answer.status_code == 500
    assert answer.json() == {"error": "The server failed; its terminal says why."}
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_more_than_may_wait_are_told_to_come_again(site):
    gate, begun = threading.Event(), threading.Event()

    def embed(pixels):
        begun.set()
        gate.wait(10)
        return site.embed(pixels)

    slow = Site(name="x", index=site.index, embed=embed)
    app = build_app(slow, Access(host="127.0.0.1"), Workers(1, 1))
    with TestClient(app, "http://127.0.0.1", headers={"Origin": "http://127.0.0.1"}) as client:
        data, answers = encoded(Image.new("RGB", (4, 4), "red")), []
        first = threading.Thread(
            target=lambda: answers.append(client.post("/api/embed", content=data))
        )
        first.start()
        assert begun.wait(10)
        busy = client.post("/api/embed", content=data)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert busy.json() == {"error": "The server is busy; try again."}
        gate.set()
        first.join()
        assert answers[0].status_code == 200


def test_names_are_data(tmp_path):
    name = "a/<img src=x onerror=alert(1)>.png"
    rows = torch.eye(2)
    batch = TableBatch(names=[name, "b"], labels=torch.tensor([0, -1]), embeddings=rows)
    info = TableInfo(rows=2, dim=2, class_names=["<b>"])
    index = build_index(write_table(tmp_path / "table", info, [batch]), tmp_path / "index")
    odd = Site(name="<i>", index=index, embed=lambda _: np.ones(2, np.float32))
    client = TestClient(build_app(odd, Access(host="127.0.0.1")), LOCAL, headers={"Origin": LOCAL})
    answer = client.post("/api/search", json={"terms": [], "k": 2})
    assert answer.headers["content-type"] == "application/json"
    first, second = answer.json()["rows"]
    assert (first["name"], first["class"], second["class"]) == (name, "<b>", None)
    assert client.get("/thumbnail/0").status_code == 404


def test_what_all_paths_begin_with_is_not_shown(tmp_path):
    names = ["/home/me/cats/a/1.png", "/home/me/cats/b/2.png", "/home/me/cats/3.png"]
    batch = TableBatch(names=names, labels=torch.full((3,), -1), embeddings=torch.eye(3))
    table = write_table(tmp_path / "table", TableInfo(rows=3, dim=3), [batch])
    index = build_index(table, tmp_path / "index")
    site = Site(name="cats", index=index, embed=lambda _: np.ones(3, np.float32))
    client = TestClient(build_app(site, Access(host="127.0.0.1")), LOCAL, headers={"Origin": LOCAL})
    about = client.get("/api/index").json()
    assert about["folders"] == [["/home/me/cats/a", "a"], ["/home/me/cats/b", "b"]]
    assert [row["name"] for row in ask(client, k=3)["rows"]] == ["a/1.png", "b/2.png", "3.png"]
    assert [row["name"] for row in ask(client, folder="/home/me/cats/b")["rows"]] == ["b/2.png"]


def test_every_file_of_the_page_is_small():
    assert {path.name for path in PAGE.iterdir()} == {
        "index.html",
        "style.css",
        "page.js",
        "icon.svg",
    }
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 25_000
