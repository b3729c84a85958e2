"""Who may ask, and what every answer says."""

import socket

import pytest
from starlette.testclient import TestClient

from ssl_dml.serve import Access, build_app, new_token

EMPTY = {"terms": [], "k": 3}
TOKEN = "4bWFMDAxZk-V9I7V9hBLlY5d-EJ_Hwj0"


@pytest.fixture
def guarded(site):
    app = build_app(site, Access(host="0.0.0.0", token=TOKEN))
    return TestClient(app, "http://192.168.1.5:8000", follow_redirects=False)


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/api/index", "/thumbnail/1", "/nothing", "/%2e%2e/x"]
)
def test_every_answer_forbids_the_browser_what_the_page_does_not_need(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:8000",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "",
        "[::1",
        "192.168.1.5:8000",
    ],
)
def test_a_name_that_may_be_rebound_is_refused(client, host):
    answer = client.get("/api/index", headers={"Host": host})
    assert answer.status_code == 421
    assert "colors" not in answer.text


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:9"])
def test_the_names_of_this_machine_pass(client, host):
    assert client.get("/api/index", headers={"Host": host}).status_code == 200


def test_where_all_may_connect_an_address_passes_and_a_strange_name_does_not(guarded):
    guarded.cookies.set(Access(host="0.0.0.0", token=TOKEN).cookie, TOKEN)
    assert guarded.get("/api/index").status_code == 200
    own = {"Host": f"{socket.gethostname()}:8000"}  # as the printed address has it
    assert guarded.get("/api/index", headers=own).status_code == 200
    assert guarded.get("/api/index", headers={"Host": "evil.com:8000"}).status_code == 421


@pytest.mark.parametrize(
    "origin",
    ["http://evil.com", "null", "http://127.0.0.1:9000", "http://127.0.0.1:8000.evil.com", ""],
)
def test_a_page_of_another_origin_may_not_post(client, origin):
    answer = client.post("/api/search", json=EMPTY, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "rows" not in answer.text


def test_a_post_without_an_origin_is_refused(site):
    client = TestClient(build_app(site, Access(host="127.0.0.1")), "http://127.0.0.1:8000")
    assert client.post("/api/search", json=EMPTY).status_code == 403


def test_the_page_itself_may_post(client):
    assert client.post("/api/search", json=EMPTY).status_code == 200


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "TRACE", "PATCH"])
def test_other_methods_are_refused(client, method):
    answer = client.request(method, "/api/search")
    assert answer.status_code == 405
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/page.js",
        "/api/index",
        "/thumbnail/1",
        "/?token=",
        "/?token=wrong",
        "/?token=%ff",
        f"/page.js?token={TOKEN}",
    ],
)
def test_nothing_is_answered_without_the_token(guarded, path):
    answer = guarded.get(path)
    assert answer.status_code == 401
    assert answer.headers["connection"] == "close"
    assert answer.json() == {
        "error": "The token is missing or wrong; use the address that was printed."
    }


@pytest.mark.parametrize("cookie", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ü", '"'])
def test_a_wrong_cookie_is_none(guarded, cookie):
    name = Access(host="0.0.0.0", token=TOKEN).cookie
    answer = guarded.get("/api/index", headers={"Cookie": f"{name}={cookie}".encode()})
    assert answer.status_code == 401


def test_the_token_is_shown_once_and_kept_out_of_the_address(guarded):
    first = guarded.get(f"/?token={TOKEN}")
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.get("/thumbnail/1").status_code == 200


def test_tokens_are_long_and_differ():
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) == 32
    assert TOKEN not in repr(Access(host="0.0.0.0", token=TOKEN))
