"""Disks that fail and kills, at the n-th time that a process changes something on the disk.

Every change of files goes through a few functions of Python and one of safetensors, which are
replaced here in a forked process; what happens then is what a full disk or a kill does.
"""

import errno
import io
import os
import signal
import sys
import threading
import time
import traceback

import ssl_dml.backbones.saved
from ssl_dml.console import run_main

ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO, "denied": errno.EACCES}
KINDS = ("kill", *ERRORS, "slow")
CHANGES = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "ftruncate", "pwrite")


class Disk:
    """Counts changes of the main thread, and fails one of them.

    Args:
        at: Number of the change that fails, from 1; None to count only.
        kind: How.
    """

    def __init__(self, at=None, kind="kill"):
        self.at, self.kind, self.count = at, kind, 0

    def change(self, what):
        if threading.current_thread() is not threading.main_thread():
            return
        self.count += 1
        if self.count != self.at:
            return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "slow":
            time.sleep(0.2)
            return
        code = ERRORS[self.kind]
        raise OSError(code, os.strerror(code), what)

    def counted(self, function, what):
        def called(*args, **kwargs):
            self.change(what)
            return function(*args, **kwargs)

        return called

    def open(self, file, mode="r", *args, **kwargs):
        """In the place of ``io.open``: a file to write counts once for itself, once as written."""
        if not {*mode} & {*"wax+"}:
            return OPEN(file, mode, *args, **kwargs)
        self.change(f"open {file}")
        opened = OPEN(file, mode, *args, **kwargs)
        return Written(opened, self) if isinstance(file, os.PathLike) else opened

    def install(self):
        """For the rest of this process."""
        for name in CHANGES:
            setattr(os, name, self.counted(getattr(os, name), name))
        io.open = self.open
        saved = ssl_dml.backbones.saved
        saved.save_file = self.counted(saved.save_file, "save_file")


OPEN = io.open


class Written:
    """A file whose first write counts."""

    def __init__(self, file, disk):
        self.file, self.disk, self.fresh = file, disk, True

    def write(self, data):
        if self.fresh:
            self.fresh = False
            self.disk.change(f"write {self.file.name}")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def forked(main, args, log, disk=None):
    """Run a command in a process of its own; its exit code, and what it wrote, in a log."""
    child = os.fork()
    if child == 0:
        try:
            written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(written, 1)
            os.dup2(written, 2)
            sys.stdout, sys.stderr = OPEN(1, "w", closefd=False), OPEN(2, "w", closefd=False)
            if disk is not None:
                disk.install()
            run_main(lambda: main(args))
        except SystemExit as left:
            sys.stdout.flush()
            os._exit(left.code)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
