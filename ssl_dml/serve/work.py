"""Threads for what takes time, and a queue before them that is never longer than was said."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar, final

Result = TypeVar("Result")


class BusyError(Exception):
    """As many requests as may wait are waiting."""


@final
class Workers:
    """A few threads that decode, embed and search, and who may wait for them.

    Args:
        threads: How many work at once.
        waiting: How many requests are taken in at once, with those that are worked on.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="serve")
        self._places = threading.BoundedSemaphore(waiting)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Within it a request counts as taken in, from before its body is read.

        Raises:
            BusyError: At once, if there is no place.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError
        try:
            yield
        finally:
            self._places.release()

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        """The result of a function, which one of the threads calls."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Let no more begin, and wait for nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
