import pytest
from launching import completed

from ssl_dml.offline import LOCAL, offline

# Tries to reach hosts after the process was started as the command starts it.
PROGRAM = """
import socket
from ssl_dml.console import run_main

def main():
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    socket.getaddrinfo("localhost", 80)
    for reach in (
        lambda: socket.getaddrinfo("nowhere.invalid", 443),
        lambda: socket.create_connection(("192.0.2.1", 443), timeout=0.01),
    ):
        try:
            reach()
        except OSError as error:
            print(error)

run_main(main)
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("ON", True), ("0", False), ("", False), (None, False)],
)
def test_it_is_asked_for_as_of_the_hub(monkeypatch, value, expected):
    if value is None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert offline() == expected


def test_this_machine_alone_is_reached(tmp_path):
    assert "127.0.0.1" in LOCAL
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ended = completed(program, env={"HF_HUB_OFFLINE": "1"})
    assert ended.returncode == 0, ended.stderr
    assert [line.partition(", ")[2] for line in ended.stdout.splitlines()] == [
        f"and {host} is another machine; unset it" for host in ("nowhere.invalid", "192.0.2.1")
    ]
