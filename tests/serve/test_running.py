"""A real server on a real socket: addresses, silent connections, and the end."""

import socket
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from ssl_dml.serve import Access, build_app, listen, running
from ssl_dml.serve.running import address
from ssl_dml.types import ConfigError


@pytest.fixture(scope="module")
def server(site):
    """The address of a server in a thread, which closes silent connections soon."""
    with pytest.MonkeyPatch.context() as patch, listen("127.0.0.1", 0) as listening:
        patch.setattr(running, "PATIENCE", 0.3)
        patch.setattr(running, "MOST_CONNECTIONS", 8)
        patch.setattr("ssl_dml.serve.uploads.SLOWEST", 0.3)
        app = build_app(site, Access(host="127.0.0.1"))
        own = uvicorn.Server(running.configuration(app))
        thread = threading.Thread(target=own.run, args=([listening],))
        thread.start()
        yield address(listening)
        own.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def connect(where):
    url = urlsplit(where)
    return socket.create_connection((url.hostname, url.port), timeout=5)


def closed(connection):
    """Whether the other side has ended it."""
    try:
        return connection.recv(1000) == b""
    except ConnectionError:
        return True


def test_a_port_in_use_is_a_line():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^--port {port} is in use: choose another, or 0"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no such host", "--host 'no such host' is no address"),
        ("192.0.2.1", "--host '192.0.2.1' cannot be had"),
    ],
)
def test_an_address_that_is_not_there_is_a_line(host, words):
    with pytest.raises(ConfigError, match=words):
        listen(host, 0)


def test_the_address_has_the_token_and_a_name_that_others_can_use():
    with listen("0.0.0.0", 0) as listening:
        port = listening.getsockname()[1]
        assert address(listening, "abc") == f"http://{socket.gethostname()}:{port}/?token=abc"


def test_a_browser_is_given_the_address_but_no_token_on_its_command_line(monkeypatch):
    opened, read = [], []

    def browse(where):
        opened.append(where)
        if where.startswith("file:"):
            path = Path(urlsplit(where).path)
            assert path.parent.stat().st_mode & 0o077 == 0
            read.append(path.read_text())
        return True

    monkeypatch.setattr(running.webbrowser, "open", browse)
    monkeypatch.setattr(running, "OPENING", 0)
    running._open("http://127.0.0.1:8/", "")
    running._open("http://pc:8/?token=abc", "abc")
    assert opened[0] == "http://127.0.0.1:8/"
    assert "abc" not in opened[1]
    assert read == ['<meta http-equiv="refresh" content="0;url=http://pc:8/?token=abc">']


def test_it_serves(server):
    with urllib.request.urlopen(server) as answer:
        assert b"Image search" in answer.read()
        assert "server" not in answer.headers


def test_a_silent_connection_is_closed(server):
    with connect(server) as silent, connect(server) as slow:
        slow.send(b"GET / HTTP/1.1\r\nHo")
        began = time.monotonic()
        assert closed(silent)
        assert closed(slow)
        assert 0.2 < time.monotonic() - began < 4


def test_silent_connections_give_way_to_one_that_asks(server):
    silent = [connect(server) for _ in range(40)]
    began = time.monotonic()
    with urllib.request.urlopen(f"{server}api/index") as answer:
        assert answer.status == 200
    assert time.monotonic() - began < 2
    for connection in silent:
        connection.close()


def test_who_asks_for_more_than_a_head_may_have_is_refused(server):
    with connect(server) as loud:
        loud.sendall(b"GET /" + b"a" * 100_000)
        assert loud.recv(12) == b"HTTP/1.1 400"


def test_a_body_that_does_not_come_ends_with_408(server):
    host = urlsplit(server).netloc
    head = f"POST /api/embed HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
    with connect(server) as slow:
        slow.sendall(f"{head}Content-Length: 9\r\n\r\nx".encode())
        assert slow.recv(12) == b"HTTP/1.1 408"
