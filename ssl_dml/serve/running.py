"""Listen on an address, say it, and serve until Ctrl-C."""

import asyncio
import errno
import html
import os
import socket
import tempfile
import threading
import time
import webbrowser
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ssl_dml.progress import say
from ssl_dml.types import ConfigError

MOST_CONNECTIONS = 256
PATIENCE = 10.0  # seconds for the head of a request
OPENING = 30.0  # seconds in which a browser has read the file that it was given


class Impatient(H11Protocol):
    """Connections of which those that say nothing are closed, sooner where there are many."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # noqa: D102
        super().connection_made(transport)  # pyright: ignore[reportArgumentType]
        self._since = self.loop.time()
        others = [one for one in self.connections if isinstance(one, Impatient)]
        others = [one for one in others if not one.transport.is_closing()]
        if len(others) > MOST_CONNECTIONS:
            min(others, key=lambda one: (not one.waits, one._since)).transport.abort()
        self.loop.call_later(PATIENCE, self._look)

    @property
    def waits(self) -> bool:
        """Whether the head of a request is still to come."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        """Close the connection if it has waited long, or look again."""
        if self.transport.is_closing():
            return
        if not self.waits:
            self._since = self.loop.time()
        elif self.loop.time() - self._since >= PATIENCE:
            self.transport.close()
            return
        self.loop.call_later(PATIENCE / 4, self._look)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections of this address alone.

    Args:
        host: Name or number of an address of this machine; ``0.0.0.0`` for all.
        port: Its port; 0 for any that is free.

    Raises:
        ConfigError: Naming the key, if the address cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"--host {host!r} is no address: {error.strerror}") from error
    try:
        return socket.create_server(address[:2], family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"--port {port} is in use: choose another, or 0 for any that is free"
            ) from error
        key = f"--port {port}" if error.errno == errno.EACCES else f"--host {host!r}"
        raise ConfigError(f"{key} cannot be had: {os.strerror(error.errno or 0)}") from error


def address(listening: socket.socket, token: str = "") -> str:
    """What to type into a browser.

    >>> with listen("127.0.0.1", 0) as listening:
    ...     address(listening).rpartition(":")[0]
    'http://127.0.0.1'
    """
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


def serve(app: ASGIApp, listening: socket.socket, *, token: str = "", open: bool = False) -> None:
    """Serve until Ctrl-C.

    Args:
        app: What answers.
        listening: Where.
        token: What the address shows.
        open: Open the page in a browser.
    """
    where = address(listening, token)
    say(f"search page: {where}\nCtrl-C stops it")
    if open:
        threading.Thread(target=_open, args=(where, token), daemon=True).start()
    with suppress(KeyboardInterrupt):
        uvicorn.Server(configuration(app)).run(sockets=[listening])


def configuration(app: ASGIApp) -> uvicorn.Config:
    """How the server runs an app: HTTP/1.1 alone, and no header says who asks."""
    return uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )


def _open(where: str, token: str) -> None:
    """Open an address; one with a token by way of a file, since command lines are public."""
    if not token:
        webbrowser.open(where)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "open.html"
        page.write_text(f'<meta http-equiv="refresh" content="0;url={html.escape(where)}">')
        if webbrowser.open(page.as_uri()):
            time.sleep(OPENING)
