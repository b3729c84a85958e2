"""Nothing is fetched from other machines where ``HF_HUB_OFFLINE`` asks for that."""

import os
import socket
import sys
from typing import Any

LOCAL = ("localhost", "127.0.0.1", "::1")


def offline() -> bool:
    """Whether the environment asks for it, as the clients of the hub read it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def keep_offline() -> None:
    """Refuse names and connections of other machines in this process, for good, if asked to.

    The clients of the hub do so themselves; this is for all others, such as ``https://`` and
    torchvision. Processes of one run are not concerned.
    """
    if offline():
        sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise where Python is about to look up a name or to connect.

    Raises:
        socket.gaierror: If it is that of another machine.
    """
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):  # text is a local socket
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and host not in (*LOCAL, socket.gethostname()):
        raise socket.gaierror(
            socket.EAI_FAIL, f"HF_HUB_OFFLINE is set, and {host} is another machine; unset it"
        )
