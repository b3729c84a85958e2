"""What a process does that a configuration must not make it do, told by Python's audit hooks."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile")
REACHES = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
MAKES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LIBRARIES = (sys.prefix, sys.base_prefix, os.fspath(ROOT), "<")
MARK = "a-stranger-was-here"  # in whatever is handed over to be run


def watch(tell, places):
    """Tell of processes, connections, foreign code, and of files outside some places, for good.

    Args:
        tell: Given one line for each.
        places: Gives the folders in which files may be made and removed.
    """

    def hook(event, arguments):
        if event in STARTS or (event in REACHES and not _is_local(arguments)):
            tell(f"{event} {arguments!r:.200}")
        elif event == "exec" and not arguments[0].co_filename.startswith(LIBRARIES):
            tell(f"exec {arguments[0].co_filename}")
        elif event == "compile" and MARK in str(arguments[0]):
            tell(f"compile {arguments[0]!r:.200}")
        elif event in MAKES or (event == "open" and _writes(arguments)):
            _outside(event, arguments[0], places(), tell)

    sys.addaudithook(hook)


def _is_local(arguments):
    """Whether it is a socket of this machine, such as workers share tensors through."""
    return any(isinstance(one, str | bytes) and os.fsdecode(one)[:1] in "/\0" for one in arguments)


def _writes(arguments):
    return isinstance(arguments[2], int) and bool(arguments[2] & WRITES)


def _outside(event, path, places, tell):
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a number of what is open already
    path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - pathlib would call the hook again
    inside = (os.path.commonpath([path, str(place)]) == str(place) for place in places)
    if not any(inside) and not path.startswith(("/dev/", "/proc/")):
        tell(f"{event} {path}")
